//! Which processes there are: what each reports of itself. An observation, no projection; only who is to drain is one.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::StoreError;

/// A process that was silent for so long is forgotten.
pub const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessKind {
    /// It answers requests and runs no jobs.
    Api,
    /// It runs jobs, whatever it does beside.
    Worker,
}

impl ProcessKind {
    /// The stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }
}

impl std::str::FromStr for ProcessKind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Api, Self::Worker].into_iter().find(|kind| kind.as_str() == name).ok_or(())
    }
}

/// What a process reports of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Unique per process; a worker's is stored with its leases and events, too.
    pub id: String,
    /// What it does.
    pub kind: ProcessKind,
    /// The name of its host.
    pub host: String,
    /// Process id on that host.
    pub pid: u32,
    /// Of the program.
    pub version: String,
    /// Ids of the master keys that it can use, separated by commas.
    pub key_ids: String,
    /// When it started, by its own clock.
    pub started_at: DateTime<Utc>,
    /// Jobs that run.
    pub in_flight: u32,
    /// Most jobs at once.
    pub concurrency: u32,
    /// It takes no more jobs.
    pub draining: bool,
}

/// A process as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// What it reported last.
    pub report: Report,
    /// When that was.
    pub seen_at: DateTime<Utc>,
    /// How long ago that is, by one clock.
    pub silent_for: Duration,
    /// Somebody wants it to take no more jobs; it does so at its next report.
    pub is_to_drain: bool,
}

/// What a process hears when it reports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Orders {
    /// It is to take no more jobs.
    pub is_to_drain: bool,
    /// Check value of the master key of the database; `None` before the first start.
    pub key_check: Option<String>,
    /// Check value of the next master key, while the key is being rotated.
    pub next_key_check: Option<String>,
}

/// The part of a store that knows processes.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Keeps what a process reports, forgets who was silent for [`FORGOTTEN_AFTER`], and tells what the process is to
    /// do. `now` is for a store without a clock of its own.
    async fn report(&self, report: &Report, now: DateTime<Utc>) -> Result<Orders, StoreError>;
    /// Forgets a process that ends.
    async fn leave(&self, id: &str) -> Result<(), StoreError>;
    /// Every process that is known, the oldest first.
    async fn processes(&self, now: DateTime<Utc>) -> Result<Vec<Process>, StoreError>;
}
