//! The one road from a command to the log: load, fold, decide, evolve, commit; on a conflict again.

use std::sync::Arc;

use crate::{
    clock::Clock,
    commit::{Commit, Receipt},
    domain::gateway::{Command, Event, Gateway, Occurrence, Refusal},
    envelope::{Actor, Metadata, NewEvent, Recorded, StreamId},
    ids::{EventId, GatewayId, OperationId},
    store::{CommitError, Store, StoreError},
    view::gateway_rows,
};

/// Decisions on a stream that somebody else keeps moving.
const TRIES_MAX: u32 = 3;

/// Who acts and why; recorded with every event.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who.
    pub actor: Actor,
    /// The HTTP request.
    pub request_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The worker that acts.
    pub worker_id: Option<String>,
    /// The attempt that it makes.
    pub attempt: Option<u32>,
    /// The event that led here.
    pub causation_id: Option<EventId>,
    /// A worker's: the operation it works for. Once another has begun, what it reports is refused.
    pub only_for: Option<OperationId>,
}

impl Context {
    /// Of what this actor does by itself: no request and no operation led to it.
    #[must_use]
    pub const fn of(actor: Actor) -> Self {
        Self {
            actor,
            request_id: None,
            traceparent: None,
            worker_id: None,
            attempt: None,
            causation_id: None,
            only_for: None,
        }
    }
}

/// Why a command had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The domain said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store said no.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The stream could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads a gateway's stream and folds it.
///
/// # Errors
///
/// [`StoreError`] if the stream cannot be read, or holds events that this program does not know.
pub async fn load(store: &dyn Store, gateway: GatewayId) -> Result<Gateway, StoreError> {
    fold(&store.load(&StreamId::from(gateway)).await?)
}

/// Folds recorded events of a gateway.
///
/// # Errors
///
/// [`StoreError::Unreadable`] for an event that this program does not know.
pub fn fold(history: &[Recorded]) -> Result<Gateway, StoreError> {
    let mut gateway = Gateway::default();
    for recorded in history {
        let unreadable =
            |_| StoreError::Unreadable { what: "gateway event", value: recorded.event_type.clone() };
        let event: Event = recorded.event().map_err(unreadable)?;
        let metadata = recorded.parse_metadata().map_err(unreadable)?;
        let occurrence = Occurrence {
            at: recorded.recorded_at,
            version: recorded.version,
            request_id: metadata.request_id,
        };
        gateway = gateway.evolve(&event, &occurrence);
    }
    Ok(gateway)
}

/// Decides a command on a gateway's stream and commits what follows.
///
/// `complete` adds to the commit: jobs, secrets, the end of a delivery. It is called even if the decision is "already
/// so": a redelivered job must end as well.
///
/// # Errors
///
/// [`ExecuteError`]: refused, not written, or not readable.
pub async fn execute(
    store: &dyn Store,
    clock: &dyn Clock,
    (gateway, command): (GatewayId, Command),
    context: &Context,
    complete: impl Fn(&mut Commit) + Send + Sync,
) -> Result<Receipt, ExecuteError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let state = load(store, gateway).await?;
        if let (Some(operation), Gateway::Known(known)) = (context.only_for, &state)
            && known.operation.id != operation
        {
            return Err(Refusal::Finished(operation).into());
        }
        let events = state.decide(command.clone())?;
        let mut commit = build(clock, (gateway, state), &events, context)?;
        complete(&mut commit);
        match store.commit(commit).await {
            Err(CommitError::Conflict { .. }) if tries < TRIES_MAX => {}
            other => return Ok(other?),
        }
    }
}

/// The commit of events that were decided on a state.
///
/// # Errors
///
/// [`ExecuteError::Commit`] if an event cannot be written as JSON, which would be a bug.
pub fn build(
    clock: &dyn Clock,
    (gateway, state): (GatewayId, Gateway),
    events: &[Event],
    context: &Context,
) -> Result<Commit, ExecuteError> {
    let at = clock.now();
    let stream = StreamId::from(gateway);
    let bug = |source: serde_json::Error| CommitError::Store {
        stream: stream.clone(),
        source: Arc::new(StoreError::Unreadable { what: "event to write", value: source.to_string() }),
    };
    let expected = match &state {
        Gateway::Unknown => 0,
        Gateway::Known(known) => known.revision,
    };
    let mut after = state;
    let mut new_events = vec![];
    let mut rows = vec![];
    for (event, version) in events.iter().zip(expected + 1..) {
        let occurrence = Occurrence { at, version, request_id: context.request_id.clone() };
        after = after.evolve(event, &occurrence);
        rows.extend(gateway_rows(&after).map_err(bug)?);
        let operation = match &after {
            Gateway::Known(known) if !event.is_noticed() => Some(known.operation.id),
            Gateway::Unknown | Gateway::Known(_) => None,
        };
        let metadata = Metadata {
            actor: context.actor.clone(),
            operation,
            correlation_id: operation,
            causation_id: context.causation_id,
            request_id: context.request_id.clone(),
            traceparent: context.traceparent.clone(),
            worker_id: context.worker_id.clone(),
            attempt: context.attempt,
        };
        new_events.push(NewEvent::new(EventId::mint(at), event, &metadata).map_err(bug)?);
    }
    let organization = match &after {
        Gateway::Unknown => None,
        Gateway::Known(known) => Some(known.request.organization_id),
    };
    let mut commit = Commit::new(stream.clone(), organization, expected, at);
    commit.rows = rows;
    commit.events = new_events;
    Ok(commit)
}
