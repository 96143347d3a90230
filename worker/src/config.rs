//! What a worker needs to know, beside the store.

use std::{sync::Arc, time::Duration};

use shared::{clock::Clock, domain::gateway::version::Version, store::Store, vault::Vault};

use crate::gateway::Dialer;

/// The numbers and texts of a worker (DESIGN.md §5 and §6).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Unique per process; stored with leases and events.
    pub worker_id: String,
    /// Most jobs at once.
    pub concurrency: u32,
    /// How long a lease is.
    pub lease: Duration,
    /// How often leases are renewed.
    pub renew_every: Duration,
    /// Where agents reach the API.
    pub base_url: String,
    /// How often an agent checks in; `None` writes no heartbeat.
    pub heartbeat_every: Option<Duration>,
    /// The lowest gateway version that is taken.
    pub minimum_version: Version,
    /// How long running jobs may take to end after a stop was asked for.
    pub shutdown: Duration,
}

impl Settings {
    /// The defaults, for a process of this name.
    #[must_use]
    pub fn new(worker_id: String, base_url: String, minimum_version: Version) -> Self {
        Self {
            worker_id,
            concurrency: 256,
            lease: Duration::from_secs(8),
            renew_every: Duration::from_millis(2_500),
            base_url,
            heartbeat_every: Some(Duration::from_mins(30)),
            minimum_version,
            shutdown: Duration::from_secs(20),
        }
    }
}

/// What every job works with.
#[derive(Clone)]
pub struct Deps {
    /// The log, the queue and the sealed secrets.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Opens sealed secrets.
    pub vault: Arc<Vault>,
    /// Dials gateways.
    pub dialer: Dialer,
    /// Numbers and texts.
    pub settings: Settings,
}

impl std::fmt::Debug for Deps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deps").field("settings", &self.settings).finish_non_exhaustive()
    }
}
