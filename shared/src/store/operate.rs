//! What operators, and the log's own upkeep, need of a store beside what a request needs.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::StoreError;
use crate::{
    envelope::{Hash, Recorded, StoredEvent, StreamId},
    ids::{GatewayId, OperationId, OrganizationId},
};

/// Which events; all of them where nothing is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only this organization's.
    pub organization: Option<OrganizationId>,
    /// Only of this stored name.
    pub event_type: Option<String>,
    /// Only of this stream.
    pub stream: Option<StreamId>,
    /// Only those that this actor caused, by its id.
    pub actor: Option<String>,
    /// Only those of this operation.
    pub operation: Option<OperationId>,
    /// Only those recorded then or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those recorded before.
    pub until: Option<DateTime<Utc>>,
}

impl EventFilter {
    /// Whether an event that is at hand is wanted: the same answer as the database's.
    #[must_use]
    pub fn matches(&self, event: &Recorded) -> bool {
        let is_of =
            |wanted: &Option<String>, given: &str| wanted.as_ref().is_none_or(|wanted| wanted == given);
        let is_here = self.organization.is_none_or(|owner| event.organization == Some(owner))
            && is_of(&self.event_type, &event.event_type)
            && self.stream.as_ref().is_none_or(|stream| *stream == event.stream)
            && self.since.is_none_or(|since| event.recorded_at >= since)
            && self.until.is_none_or(|until| event.recorded_at < until);
        if !is_here || (self.actor.is_none() && self.operation.is_none()) {
            return is_here;
        }
        event.parse_metadata().is_ok_and(|metadata| {
            is_of(&self.actor, &metadata.actor.id)
                && self.operation.is_none_or(|operation| metadata.operation == Some(operation))
        })
    }
}

/// Who paused the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Who, by name.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Most due jobs that are counted: a page of metrics must not cost more when the queue is long.
pub const DUE_COUNTED_MAX: u32 = 10_000;

/// How much waits in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Jobs that are due and that nobody works on, at most [`DUE_COUNTED_MAX`]. Those that wait for another job of their
    /// gateway are among them, those of a lost worker too.
    pub due: u32,
    /// For how long the oldest of them has been due; zero where there is none.
    pub oldest: Duration,
    /// Whether the queue is paused.
    pub is_paused: bool,
}

/// An end of the log, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Position of its last event.
    pub position: u64,
    /// Of that event.
    pub hash: Hash,
    /// When it was signed.
    pub signed_at: DateTime<Utc>,
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    /// Ed25519, 64 bytes.
    pub signature: Vec<u8>,
}

/// The part of a store that operators use.
#[async_trait]
pub trait Operate: Send + Sync {
    /// A page of the events that pass a filter, after a global position, in order.
    async fn events(&self, filter: &EventFilter, after: u64, limit: u32)
    -> Result<Vec<Recorded>, StoreError>;
    /// A page of the whole log after a global position, in order, as it is stored: for proofs and exports.
    async fn stored_page(&self, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;
    /// Whether the queue is paused, and by whom.
    async fn pause(&self) -> Result<Option<Pause>, StoreError>;
    /// How much waits in the queue, at `now` for a store without a clock of its own.
    async fn backlog(&self, now: DateTime<Utc>) -> Result<Backlog, StoreError>;
    /// Gateways that wait for a worker although no job is there for them, and gateways that are not registered and
    /// have sealed tokens that no job will erase; and those whose main agent was missed and that no job wakes.
    async fn waiting_without_job(&self, limit: u32) -> Result<Vec<GatewayId>, StoreError>;
    /// The database's clock; `None` where it goes by this host's.
    async fn time(&self) -> Result<Option<DateTime<Utc>>, StoreError>;
    /// Takes the turn to do something that one process does at a time, or keeps it; `false` if another has it.
    async fn take_turn(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError>;

    /// Keeps a checkpoint; of a position that has one already, the first stays.
    async fn keep_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError>;
    /// The latest checkpoint at or before a position.
    async fn checkpoint(&self, at_most: u64) -> Result<Option<Checkpoint>, StoreError>;
}
