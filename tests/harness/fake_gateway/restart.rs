//! Restarts: what clients see of them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::server::{Door, Push, Shared};

/// A restart that a call brought about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    /// From the answer to the close.
    pub(crate) delay: Duration,
    pub(crate) down: Duration,
}

impl Planned {
    pub(crate) fn millis(delay: u64, down: u64) -> Self {
        Self { delay: Duration::from_millis(delay), down: Duration::from_millis(down) }
    }

    pub(crate) fn hurried(self, hurry: u32) -> Self {
        let hurry = hurry.max(1);
        Self { delay: self.delay / hurry, down: self.down / hurry }
    }
}

/// Begins their delays. They were ordered before, with [`order`].
pub(crate) fn plan(shared: &Arc<Shared>, restarts: &[Planned]) {
    for restart in restarts.iter().copied() {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            run(Arc::clone(&shared), restart.delay, restart.down).await;
            shared.ordered.send_modify(|ordered| *ordered -= 1);
        });
    }
}

/// Counts them before the answer that brings them about can be read.
pub(crate) fn order(shared: &Shared, restarts: &[Planned]) {
    shared.ordered.send_modify(|ordered| *ordered += restarts.len());
}

pub(crate) async fn run(shared: Arc<Shared>, delay: Duration, down: Duration) {
    tokio::time::sleep(delay).await;
    shared.door.send_replace(Door::Unavailable);
    shared.state().restarts += 1;
    let farewell = json!({ "reason": "gateway restarting", "restartExpectedMs": 1500 });
    // Nobody may be connected; then nobody needs to know.
    drop(shared.pushes.send(Push::Event("shutdown", farewell)));
    drop(shared.pushes.send(Push::Restart));
    tokio::time::sleep(down).await;
    shared.door.send_replace(Door::Open);
}
