//! The invariants of DESIGN.md §8 that can be read off the store, for the end of every scenario.

use std::{collections::HashMap, time::Duration};

use shared::{
    envelope::{Recorded, StreamId},
    ids::{GatewayId, OperationId, OrganizationId},
    job::Kind,
    rebuild::Folder,
    store::{Store, plan::last_of_each},
    verify::{Verdict, verify},
    view::Row,
};

use super::World;

/// Events that end an operation.
const TERMINAL: [&str; 9] = [
    "GatewayCreated",
    "GatewayCreationFailed",
    "GatewayCreationCancelled",
    "GatewayUpdated",
    "GatewayUpdateFailed",
    "TemplatesSynced",
    "TemplateSyncFailed",
    "GatewayDeleted",
    "GatewayDeletionFailed",
];

impl World {
    /// The whole log.
    ///
    /// # Panics
    ///
    /// If the store fails.
    pub async fn log(&self) -> Vec<Recorded> {
        log(self.store.as_ref()).await
    }

    /// Names of the events of a gateway, in order.
    ///
    /// # Panics
    ///
    /// If the store fails.
    pub async fn history(&self, gateway: &str) -> Vec<String> {
        let id: GatewayId = gateway.parse().expect("a gateway id");
        let events = self.store.load(&StreamId::from(id)).await.expect("the stream is read");
        events.into_iter().map(|event| event.event_type).collect()
    }

    /// [`audit`] of this installation.
    ///
    /// # Panics
    ///
    /// If an invariant does not hold.
    pub async fn audit(&self) {
        audit(self.store.as_ref(), self.organization).await;
    }

    /// [`idle`] of this installation.
    ///
    /// # Panics
    ///
    /// If a job is left after half a minute.
    pub async fn idle(&self) {
        idle(self.store.as_ref()).await;
    }
}

/// The whole log.
///
/// # Panics
///
/// If the store fails.
pub async fn log(store: &dyn Store) -> Vec<Recorded> {
    let mut log: Vec<Recorded> = vec![];
    loop {
        let after = log.last().map_or(0, |last| last.position);
        let page = store.log_page(after, 1_000).await.expect("the log is read");
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}

/// Proves that the log is intact, every operation has exactly one end, every view is the fold of its stream, and nothing
/// waits in the queue but the erasing of tokens.
///
/// # Panics
///
/// If one of them does not hold.
pub async fn audit(store: &dyn Store, organization: OrganizationId) {
    idle(store).await;
    let verdict = verify(store).await.expect("the log can be read");
    assert!(matches!(verdict, Verdict::Intact { .. }), "{verdict:?}");
    let mut ends: HashMap<OperationId, usize> = HashMap::new();
    let mut streams: HashMap<StreamId, Vec<Recorded>> = HashMap::new();
    for event in log(store).await {
        let metadata = event.parse_metadata().expect("metadata can be read");
        if let Some(operation) = metadata.operation {
            *ends.entry(operation).or_default() += usize::from(TERMINAL.contains(&event.event_type.as_str()));
        }
        if event.stream.as_str().starts_with("gateway-") {
            streams.entry(event.stream.clone()).or_default().push(event);
        }
    }
    for (operation, ends) in ends {
        assert_eq!(ends, 1, "operation {operation} has {ends} terminal events");
    }
    for (stream, events) in streams {
        let versions: Vec<u64> = events.iter().map(|event| event.version).collect();
        assert!(
            versions.iter().copied().eq(1..=u64::try_from(events.len()).unwrap_or(0)),
            "{stream}: {versions:?}"
        );
        views_equal_fold(store, organization, &events).await;
    }
}

async fn views_equal_fold(store: &dyn Store, owner: OrganizationId, events: &[Recorded]) {
    let mut folder = Folder::default();
    let rows = events.iter().flat_map(|event| folder.fold(event).expect("the stream can be folded"));
    let rows = last_of_each(rows.collect());
    let is_gone = rows.iter().any(|row| matches!(row, Row::GatewayGone { .. }));
    for row in rows {
        let (stored, expected) = match row {
            Row::Gateway { id, organization, document, .. } => {
                (store.gateway(organization, id).await.expect("a gateway is read"), document)
            }
            Row::Operation { id, document, .. } => {
                let stored = store.operation(id).await.expect("an operation is read");
                (stored.map(|stored| stored.document), document)
            }
            Row::Agent { id, .. } if is_gone => {
                let left = store.agent(owner, id).await.expect("an agent is read");
                assert_eq!(left, None, "a deleted gateway's agent is shown");
                continue;
            }
            Row::Agent { id, organization, document, .. } => {
                (store.agent(organization, id).await.expect("an agent is read"), document)
            }
            Row::GatewayGone { id, .. } => {
                let left = store.gateway(owner, id).await.expect("a gateway is read");
                assert_eq!(left, None, "a deleted gateway is shown");
                continue;
            }
            Row::Organization { .. }
            | Row::Member { .. }
            | Row::Token { .. }
            | Row::QueuePause(_)
            | Row::WorkerDrain { .. } => {
                continue;
            }
        };
        assert_eq!(stored.as_deref(), Some(expected.as_str()));
    }
}

/// Waits until no job is left but those that erase tokens later.
///
/// # Panics
///
/// If a job is left after half a minute.
pub async fn idle(store: &dyn Store) {
    let mut left = vec![];
    for _ in 0..600 {
        left = store.jobs().await.expect("the queue is read");
        left.retain(|queued| queued.job.kind != Kind::EraseToken);
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let kinds: Vec<String> =
        left.iter().take(5).map(|queued| format!("{} {:?}", queued.job.kind, queued.leased)).collect();
    panic!("{} jobs are left, among them {kinds:?}", left.len());
}
