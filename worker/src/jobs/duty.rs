//! Whether this worker takes jobs. An operator can let it drain: it ends what it does and takes no more until it may again.

use std::sync::{Mutex, PoisonError};

use shared::store::{LocalWorker, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Takes jobs, or drains.
pub(super) struct Duty {
    is_draining: watch::Sender<bool>,
    /// To be handed jobs in memory again; gone at the end, for the channel inside must end then.
    local: Mutex<Option<LocalWorker>>,
    stop: CancellationToken,
}

impl Duty {
    /// Takes jobs, those that commits of this process hand over too.
    pub(super) fn begin(store: &dyn Store, local: LocalWorker, stop: CancellationToken) -> Self {
        store.attach(Some(local.clone()));
        Self { is_draining: watch::Sender::new(false), local: Mutex::new(Some(local)), stop }
    }

    /// Whether it takes no more jobs, for whichever reason.
    pub(super) fn takes_no_more(&self) -> bool {
        *self.is_draining.borrow() || self.stop.is_cancelled()
    }

    /// Waits until jobs may be taken.
    pub(super) async fn may_take(&self) {
        let mut is_draining = self.is_draining.subscribe();
        // An error means that this is gone, and who asks with it.
        let _ = is_draining.wait_for(|is_draining| !is_draining).await;
    }

    /// Does as an operator wants.
    pub(super) fn set(&self, store: &dyn Store, is_to_drain: bool) {
        if *self.is_draining.borrow() == is_to_drain || self.stop.is_cancelled() {
            return;
        }
        if is_to_drain {
            store.attach(None);
            tracing::info!("draining: running jobs end, and no more are taken");
        } else {
            store.attach(self.local.lock().unwrap_or_else(PoisonError::into_inner).clone());
            tracing::info!("jobs are taken again");
        }
        self.is_draining.send_replace(is_to_drain);
    }

    /// Nothing is handed over any more.
    pub(super) fn end(&self, store: &dyn Store) {
        self.local.lock().unwrap_or_else(PoisonError::into_inner).take();
        store.attach(None);
    }
}
