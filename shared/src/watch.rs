//! Waiting for outcomes and for events: one tailer reads the log for all, so that a waiting client costs no query.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{broadcast, oneshot, watch};

use crate::{envelope::Recorded, ids::OperationId, store::Store, view::is_finished};

/// Events per read of the log.
const PAGE: u32 = 1_000;
/// The log is read at least this often, whatever was or was not signalled.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Events that are kept for those who follow the log; who is further behind is cut off.
pub const FEED_EVENTS_MAX: usize = 4_096;

/// Events in the order of the log, from the moment it was taken on.
pub type Feed = broadcast::Receiver<Arc<Recorded>>;

/// As many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many clients wait already")]
pub struct Full;

type Waiting = HashMap<OperationId, HashMap<u64, oneshot::Sender<Arc<str>>>>;

#[derive(Debug, Default)]
struct Registry {
    waiting: Waiting,
    count: usize,
    next: u64,
}

/// Everybody who waits in this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Waiters {
    registry: Arc<Mutex<Registry>>,
    most: usize,
    feed: broadcast::Sender<Arc<Recorded>>,
    has_begun: watch::Sender<bool>,
}

/// A place in the queue of an operation; dropping it gives the place up.
#[derive(Debug)]
pub struct Waiter {
    waiters: Waiters,
    operation: OperationId,
    id: u64,
    outcome: oneshot::Receiver<Arc<str>>,
}

impl Waiters {
    /// At most `most` may wait at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let feed = broadcast::Sender::new(FEED_EVENTS_MAX);
        Self { registry: Arc::default(), most, feed, has_begun: watch::Sender::new(false) }
    }

    /// Follows the log from now on; a receiver that is more than [`FEED_EVENTS_MAX`] behind is told so.
    ///
    /// Waits until the tailer knows where it begins, which takes as long as the database is away: what is recorded before
    /// that is told to nobody, so that whoever reads the log after this has returned misses nothing between the two.
    pub async fn feed(&self) -> Feed {
        // Fails only if the sender is gone, and that is in `self`.
        let _ = self.has_begun.subscribe().wait_for(|has_begun| *has_begun).await;
        self.feed.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an operation from now on. Register first and look at the operation then, or the outcome may fall
    /// between the two.
    ///
    /// # Errors
    ///
    /// [`Full`] if as many wait as may.
    pub fn register(&self, operation: OperationId) -> Result<Waiter, Full> {
        let mut registry = self.lock();
        if registry.count >= self.most {
            return Err(Full);
        }
        registry.count += 1;
        registry.next += 1;
        let id = registry.next;
        let (sender, outcome) = oneshot::channel();
        registry.waiting.entry(operation).or_default().insert(id, sender);
        Ok(Waiter { waiters: self.clone(), operation, id, outcome })
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().count
    }

    fn waited_for(&self) -> Vec<OperationId> {
        self.lock().waiting.keys().copied().collect()
    }

    fn tell(&self, operation: OperationId, document: &Arc<str>) {
        let told = self.lock().waiting.remove(&operation).unwrap_or_default();
        for sender in told.into_values() {
            let _ = sender.send(Arc::clone(document));
        }
    }

    /// Follows the log for all waiters until the task is dropped. Survives a database that is away.
    pub async fn tail(self, store: Arc<dyn Store>) {
        let mut positions = store.positions();
        let mut after = None;
        loop {
            if let Err(error) = self.catch_up(store.as_ref(), &mut after).await {
                tracing::warn!(
                    error = crate::chain::chain(&error),
                    "the log could not be followed; trying again"
                );
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, positions.changed()).await;
            positions.borrow_and_update();
        }
    }

    async fn catch_up(
        &self,
        store: &dyn Store,
        after: &mut Option<u64>,
    ) -> Result<(), crate::store::StoreError> {
        let mut from = if let Some(position) = *after {
            position
        } else {
            // The first read may come late, when the database did: who waits since before it is looked up once.
            let head = store.head().await?.position;
            self.tell_finished(store, &self.waited_for()).await?;
            self.has_begun.send_replace(true);
            *after.insert(head)
        };
        loop {
            let page = store.log_page(from, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let last = last.position;
            let waited_for: HashSet<OperationId> = self.waited_for().into_iter().collect();
            let mut touched: Vec<OperationId> = page
                .iter()
                .filter_map(|event| event.parse_metadata().ok()?.operation)
                .filter(|operation| waited_for.contains(operation))
                .collect();
            touched.sort_unstable();
            touched.dedup();
            self.tell_finished(store, &touched).await?;
            for event in page {
                // Nobody may be there to hear it.
                let _ = self.feed.send(Arc::new(event));
            }
            from = last;
            *after = Some(from);
        }
    }

    async fn tell_finished(
        &self,
        store: &dyn Store,
        operations: &[OperationId],
    ) -> Result<(), crate::store::StoreError> {
        if operations.is_empty() {
            return Ok(());
        }
        for operation in store.operations(operations).await? {
            if is_finished(&operation.status) {
                self.tell(operation.id, &Arc::from(operation.document));
            }
        }
        Ok(())
    }
}

impl Waiter {
    /// The operation's document once it is finished; `None` if the process shuts down first.
    pub async fn outcome(mut self) -> Option<Arc<str>> {
        (&mut self.outcome).await.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut registry = self.waiters.lock();
        registry.count = registry.count.saturating_sub(1);
        if let Some(waiting) = registry.waiting.get_mut(&self.operation) {
            waiting.remove(&self.id);
            if waiting.is_empty() {
                registry.waiting.remove(&self.operation);
            }
        }
    }
}
