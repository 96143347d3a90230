//! The leases that this worker holds: renewed together, and handed back at the end if their deliveries were cut off.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use shared::{
    ids::{JobId, LeaseToken},
    meter,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::gateway::tenure::Tenure;

/// A lease, as the queue knows it.
pub(super) type Named = (JobId, LeaseToken);

struct Running {
    token: LeaseToken,
    lost: CancellationToken,
    /// Until when it surely is ours.
    until: watch::Sender<Instant>,
}

#[derive(Default)]
struct Leases {
    running: HashMap<JobId, Running>,
    cut_off: Vec<Named>,
}

/// Every lease whose delivery has begun and has not ended.
#[derive(Default)]
pub(super) struct Held(Mutex<Leases>);

impl Held {
    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delivery begins, under a lease that is surely ours until then.
    pub(super) fn begin(self: &Arc<Self>, (job, token): Named, until: Instant) -> Holding {
        let lost = CancellationToken::new();
        let until = watch::Sender::new(until);
        let tenure = Tenure::of(until.subscribe());
        self.lock().running.insert(job, Running { token, lost: lost.clone(), until });
        meter::delivery_began();
        Holding { held: Arc::clone(self), lease: (job, token), lost, tenure, is_over: false }
    }

    /// Those whose deliveries run.
    pub(super) fn running(&self) -> Vec<Named> {
        self.lock().running.iter().map(|(job, running)| (*job, running.token)).collect()
    }

    /// Of these leases only those of the kept jobs are still ours, until then: the other deliveries are to end.
    pub(super) fn keep(&self, renewed: &[Named], kept: &HashSet<JobId>, until: Instant) {
        let leases = self.lock();
        for (job, token) in renewed {
            match leases.running.get(job).filter(|running| running.token == *token) {
                Some(running) if kept.contains(job) => drop(running.until.send_replace(until)),
                Some(running) => running.lost.cancel(),
                None => {}
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
    tenure: Tenure,
    is_over: bool,
}

impl Holding {
    /// Waits until the lease is known to be another worker's.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// For whoever acts on a gateway because of it.
    pub(super) fn tenure(&self) -> Tenure {
        self.tenure.clone()
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
        if leases.running.get(&job).is_some_and(|running| running.token == token) {
            leases.running.remove(&job);
        }
        if !self.is_over {
            leases.cut_off.push(self.lease);
        }
    }
}
