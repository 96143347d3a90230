//! The leases that this worker holds: renewed together, and handed back at the end if their deliveries were cut off.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::{
    ids::{JobId, LeaseToken},
    meter,
};
use tokio_util::sync::CancellationToken;

/// A lease, as the queue knows it.
pub(super) type Named = (JobId, LeaseToken);

#[derive(Default)]
struct Leases {
    running: HashMap<JobId, (LeaseToken, CancellationToken)>,
    cut_off: Vec<Named>,
}

/// Every lease whose delivery has begun and has not ended.
#[derive(Default)]
pub(super) struct Held(Mutex<Leases>);

impl Held {
    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delivery begins.
    pub(super) fn begin(self: &Arc<Self>, (job, token): Named) -> Holding {
        let lost = CancellationToken::new();
        self.lock().running.insert(job, (token, lost.clone()));
        meter::delivery_began();
        Holding { held: Arc::clone(self), lease: (job, token), lost, is_over: false }
    }

    /// Those whose deliveries run.
    pub(super) fn running(&self) -> Vec<Named> {
        self.lock().running.iter().map(|(job, (token, _))| (*job, *token)).collect()
    }

    /// Of these leases only those of the kept jobs are still ours: the other deliveries are to end.
    pub(super) fn keep(&self, renewed: &[Named], kept: &HashSet<JobId>) {
        let leases = self.lock();
        for (job, token) in renewed.iter().filter(|(job, _)| !kept.contains(job)) {
            if let Some((_, lost)) = leases.running.get(job).filter(|(known, _)| known == token) {
                lost.cancel();
            }
        }
    }

    /// Every lease that nobody's delivery ended: those that run still, and those that were cut off.
    pub(super) fn left(&self) -> Vec<Named> {
        let mut left = self.running();
        left.extend_from_slice(&self.lock().cut_off);
        left
    }
}

/// A delivery that runs. Dropped before [`Holding::end`], it was cut off, and its lease is still ours to hand back.
pub(super) struct Holding {
    held: Arc<Held>,
    lease: Named,
    lost: CancellationToken,
    is_over: bool,
}

impl Holding {
    /// Waits until the lease is known to be another worker's.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// The delivery has ended, whatever came of it.
    pub(super) fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        meter::delivery_gone();
        let (job, token) = self.lease;
        let mut leases = self.held.lock();
        // The same job may have been delivered again, under another lease.
        if leases.running.get(&job).is_some_and(|(known, _)| *known == token) {
            leases.running.remove(&job);
        }
        if !self.is_over {
            leases.cut_off.push(self.lease);
        }
    }
}
