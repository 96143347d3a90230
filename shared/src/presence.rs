//! What this process tells the others of itself, every few seconds: see `mission-control workers list`.

use std::{sync::Arc, time::Duration};

use crate::{
    chain::chain,
    clock::Clock,
    store::{Orders, ProcessKind, Report, Store},
    vault::{Vault, key_id},
};

/// How often a process reports.
pub const EVERY: Duration = Duration::from_millis(2_500);
/// A process that was silent for so long is lost, or cannot reach the database.
pub const LOST_AFTER: Duration = Duration::from_secs(10);
/// To report, or to be forgotten: nothing waits longer for it.
const LIMIT: Duration = Duration::from_secs(2);

/// This process, as others see it.
pub struct Presence {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    start: Report,
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence").field("start", &self.start).finish_non_exhaustive()
    }
}

impl Presence {
    /// A process that begins now. `concurrency` is 0 for one that runs no jobs.
    #[must_use]
    pub fn new(
        (store, clock, vault): (Arc<dyn Store>, Arc<dyn Clock>, Arc<Vault>),
        (id, kind): (String, ProcessKind),
        concurrency: u32,
    ) -> Self {
        let start = Report {
            id,
            kind,
            host: host(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            key_ids: String::new(),
            started_at: clock.now(),
            in_flight: 0,
            concurrency,
            draining: false,
        };
        Self { store, clock, vault, start }
    }

    /// Reports, and returns whether somebody wants this process to drain; `None` if the database did not say.
    pub async fn report(&self, in_flight: u32, draining: bool) -> Option<bool> {
        // The next master key may have been put beside the key file meanwhile.
        if let Err(error) = self.vault.reload() {
            tracing::warn!(error = chain(&error), "a master key file cannot be used");
        }
        let key_ids = self.vault.key_ids().join(",");
        let report = Report { key_ids, in_flight, draining, ..self.start.clone() };
        match tokio::time::timeout(LIMIT, self.store.report(&report, self.clock.now())).await {
            Ok(Ok(orders)) => {
                self.follow_key(&orders);
                return Some(orders.is_to_drain);
            }
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "this process could not report itself"),
            Err(_) => tracing::debug!("this process could not report itself in time"),
        }
        None
    }

    /// Seals with the key that the database wants.
    fn follow_key(&self, orders: &Orders) {
        let Some(current) = &orders.key_check else { return };
        let next = orders.next_key_check.as_deref();
        if !self.vault.follow(current, next) {
            let wanted = key_id(next.unwrap_or(current));
            tracing::error!(
                key.id = wanted,
                "the master key was rotated, and the new one is not here: put a copy beside the master key's file, with \
                 .next after its name; until then this process cannot read what is sealed with it"
            );
        }
    }

    /// The last report: this process ends.
    pub async fn leave(&self) {
        // Who cannot say so is forgotten later.
        let _ = tokio::time::timeout(LIMIT, self.store.leave(&self.start.id)).await;
    }

    /// Reports until `stopped`, for a process that runs no jobs.
    pub async fn keep(&self, stopped: impl Future<Output = ()>) {
        let reporting = async {
            loop {
                self.report(0, false).await;
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = reporting => {}
            () = stopped => {}
        }
        self.leave().await;
    }
}

/// The host's name, for people who look for a process.
#[must_use]
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "host".to_owned() } else { name.to_owned() }
}
