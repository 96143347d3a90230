//! Now and then: what waits for a worker although its job is gone is enqueued again.

use std::time::Duration;

use shared::{chain::chain, steer::reconcile};

use crate::config::Deps;

/// How often a worker wants to look; of a fleet one does at a time.
pub const EVERY: Duration = Duration::from_secs(30);
/// Whoever looks keeps the turn for so long.
const TURN: Duration = Duration::from_secs(45);

/// Sweeps until the task is dropped. Survives a database that is away.
pub async fn run(deps: Deps) {
    loop {
        tokio::time::sleep(deps.settings.sweep_every).await;
        let holder = &deps.settings.worker_id;
        match deps.store.take_turn("sweep", holder, TURN, deps.clock.now()).await {
            Ok(true) => sweep(&deps).await,
            Ok(false) => {}
            Err(error) => tracing::debug!(error = chain(&error), "no turn to sweep; trying again"),
        }
    }
}

async fn sweep(deps: &Deps) {
    match reconcile(deps.store.as_ref(), deps.clock.as_ref()).await {
        Ok(enqueued) => {
            for (gateway, kind) in enqueued {
                tracing::warn!(gateway.id = %gateway, job.kind = %kind, "enqueued again what waited without a job");
            }
        }
        Err(error) => tracing::warn!(error = chain(&error), "the sweep failed; trying again"),
    }
}
