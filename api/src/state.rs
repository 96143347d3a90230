//! What every handler works with.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shared::{
    clock::Clock, ids::GatewayId, register::Desk, scrape::Scrape, store::Store, vault::Vault, watch::Waiters,
};
use tokio_util::sync::CancellationToken;

use crate::{agents::beats::Beats, guard::Guard};

/// Numbers of the API (DESIGN.md §6).
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a request without `Prefer` waits for its outcome.
    pub sync_wait: Duration,
    /// How long the body of a request may take to arrive.
    pub body_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sync_wait: Duration::from_secs(30), body_wait: Duration::from_secs(10) }
    }
}

/// Gateways that are being looked at: who asks for the same one waits for the same look. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Looks(Arc<Mutex<HashSet<GatewayId>>>);

impl Looks {
    /// Whether nobody looks yet; the caller then does, and must call [`Looks::end`].
    #[must_use]
    pub fn begin(&self, gateway: GatewayId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(gateway)
    }

    /// Nobody looks any more.
    pub fn end(&self, gateway: GatewayId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&gateway);
    }
}

/// Whether the process has seen its database and its master key together. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Prepared(Arc<AtomicBool>);

impl Prepared {
    /// From now on requests are answered.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether requests are answered.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Shared by all requests. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The log, the read models and the keys.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Seals tokens and fingerprints bodies.
    pub vault: Arc<Vault>,
    /// Clients that wait for outcomes.
    pub waiters: Waiters,
    /// Gateways that somebody looks at now.
    pub looks: Looks,
    /// How often each agent has called lately.
    pub beats: Beats,
    /// Numbers.
    pub limits: Limits,
    /// Limits and header fields.
    pub guard: Guard,
    /// Makes the page of `/metrics`; `None` where nothing collects them.
    pub metrics: Option<Arc<Scrape>>,
    /// Until then every request is answered 503, and nobody's token is looked at.
    pub prepared: Prepared,
    /// Cancelled when the process is to stop: who waits is answered 202 then.
    pub stop: CancellationToken,
}

impl App {
    /// What is needed to write.
    #[must_use]
    pub fn desk(&self) -> Desk<'_> {
        Desk { store: self.store.as_ref(), clock: self.clock.as_ref(), vault: &self.vault }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("limits", &self.limits).finish_non_exhaustive()
    }
}
