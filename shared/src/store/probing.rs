//! The schedule of probes: a row for each registered gateway, claimed and ended many at a time.
//!
//! Apart from the queue, so that no job waits for a probe, and no claim of jobs looks at thousands of rows that are not
//! due. A probe waits for jobs: none begins while a job of its gateway key runs or is due.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::StoreError;
use crate::{
    commit::Sealed,
    domain::gateway::health::Tally,
    ids::{GatewayId, LeaseToken},
};

/// A registered gateway that is not on the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unprobed {
    /// Which.
    pub gateway: GatewayId,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// JSON of a `GatewayRead`.
    pub document: String,
}

/// A new row of the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProbe {
    /// Of which gateway.
    pub gateway: GatewayId,
    /// At most one probe of a key runs at a time, and none beside a job.
    pub gateway_key: String,
    /// How long from now the first probe begins.
    pub delay: Duration,
}

/// Which probes to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeClaim {
    /// Most of them.
    pub limit: u32,
    /// If nothing is heard of a probe for so long, it is due again.
    pub lease: Duration,
    /// Now, for a store without a clock of its own.
    pub now: DateTime<Utc>,
}

/// A probe that was claimed, with everything that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueProbe {
    /// Of which gateway.
    pub gateway: GatewayId,
    /// Fences its end.
    pub token: LeaseToken,
    /// JSON of a `GatewayRead`.
    pub document: String,
    /// What the probes before found.
    pub tally: Tally,
    /// The gateway's token, sealed.
    pub gateway_token: Option<Sealed>,
    /// What the gateway issued to our device, sealed.
    pub device_token: Option<Sealed>,
    /// What was last seen of it.
    pub observation: Option<String>,
}

/// The end of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Of which gateway.
    pub gateway: GatewayId,
    /// Its claim.
    pub token: LeaseToken,
    /// The gateway's key, which a change may have changed.
    pub gateway_key: String,
    /// What the probes found until now.
    pub tally: Tally,
    /// How long from now the next one begins; `None` for never by itself.
    pub next: Option<Duration>,
    /// What was seen; `None` if nobody looked.
    pub observation: Option<String>,
}

/// What was put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tidied {
    /// Rows of gateways that are gone.
    pub dropped: u64,
    /// Gateways that are probed again at once: they work again as far as the log knows, and were suspended, or probed less
    /// often.
    pub resumed: u64,
}

/// The part of a store that the monitor uses.
#[async_trait]
pub trait Probing: Send + Sync {
    /// Registered gateways that are not on the schedule.
    async fn unprobed(&self, limit: u32) -> Result<Vec<Unprobed>, StoreError>;
    /// Puts them on it, in one statement; who is there already stays as it is.
    async fn enrol_probes(&self, probes: &[NewProbe], now: DateTime<Utc>) -> Result<u64, StoreError>;
    /// Drops what is gone and resumes what works again. `usual` is longer than a working gateway ever waits.
    async fn tidy_probes(&self, usual: Duration, now: DateTime<Utc>) -> Result<Tidied, StoreError>;
    /// Takes due probes and reads what they need, in one statement.
    async fn claim_probes(&self, claim: ProbeClaim) -> Result<Vec<DueProbe>, StoreError>;
    /// Ends probes, in one statement: keeps what was seen and schedules the next. Ends that come too late are passed over;
    /// returns how many were in time.
    async fn end_probes(&self, probed: &[Probed], now: DateTime<Utc>) -> Result<u64, StoreError>;
}
