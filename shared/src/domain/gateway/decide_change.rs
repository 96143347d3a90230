//! Which events a change of a registered gateway causes.

use super::{
    change::{UpdateFailed, UpdateRequested, Updated},
    event::{Event, MainAgent},
    failure::Failure,
    operation::{End, Kind},
    refusal::Refusal,
    state::{Known, Phase},
    sync::{SyncFailed, SyncRequested, Synced},
};
use crate::ids::OperationId;

impl Known {
    pub(super) fn request_update(
        &self,
        update: Box<UpdateRequested>,
        only_at: Option<u64>,
    ) -> Result<Vec<Event>, Refusal> {
        if self.operation.id == update.operation {
            return Ok(vec![]);
        }
        if let Some(wanted) = only_at
            && wanted != self.revision
        {
            return Err(Refusal::OtherRevision { gateway: self.request.gateway, actual: self.revision });
        }
        self.while_idle()?;
        Ok(vec![Event::UpdateRequested(update)])
    }

    pub(super) fn updated(&self, updated: Box<Updated>) -> Result<Vec<Event>, Refusal> {
        if self.has_ended_as(Kind::Update, &End::Succeeded) {
            return Ok(vec![]);
        }
        self.while_doing(Kind::Update)?;
        let mut events = vec![];
        if let (Some(before), Some(url)) = (&self.moved_from, &updated.changes.url)
            && before.url.key() != url.key()
        {
            // Only one move is cleaned up after at a time.
            events.push(Event::MainAgentLeftBehind {
                agent_id: before.gateway_agent_id.on_gateway(),
                why: format!("the gateway moved again before its agent on {} was removed", before.url),
            });
        }
        events.push(Event::Updated(updated));
        Ok(events)
    }

    pub(super) fn update_failed(
        &self,
        failure: Failure,
        attempts: u32,
        left_behind: Option<String>,
    ) -> Result<Vec<Event>, Refusal> {
        if self.operation.kind == Kind::Update && matches!(self.operation.end, End::Failed(..)) {
            return Ok(vec![]);
        }
        self.while_doing(Kind::Update)?;
        let code = failure.cause.code();
        Ok(vec![Event::UpdateFailed(Box::new(UpdateFailed { failure, code, attempts, left_behind }))])
    }

    pub(super) fn refreshed(&self, agent: MainAgent) -> Result<Vec<Event>, Refusal> {
        match self.phase {
            Phase::Active(..) if self.agent_is_stale => Ok(vec![Event::MainAgentProvisioned(agent)]),
            Phase::Active(..) => Ok(vec![]),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Failed { .. }
            | Phase::Deleting { .. }
            | Phase::Deleted => Err(Refusal::NotRegistered),
        }
    }

    pub(super) fn request_sync(&self, sync: SyncRequested) -> Result<Vec<Event>, Refusal> {
        if self.operation.id == sync.operation {
            return Ok(vec![]);
        }
        self.while_idle()?;
        Ok(vec![Event::SyncRequested(sync)])
    }

    pub(super) fn record_synced(&self, synced: Box<Synced>) -> Result<Vec<Event>, Refusal> {
        if self.has_ended_as(Kind::Sync, &End::Succeeded) {
            return Ok(vec![]);
        }
        self.while_doing(Kind::Sync)?;
        Ok(vec![Event::Synced(synced)])
    }

    pub(super) fn sync_failed(&self, failure: Failure, attempts: u32) -> Result<Vec<Event>, Refusal> {
        if self.operation.kind == Kind::Sync && matches!(self.operation.end, End::Failed(..)) {
            return Ok(vec![]);
        }
        self.while_doing(Kind::Sync)?;
        let code = failure.cause.code();
        Ok(vec![Event::SyncFailed(Box::new(SyncFailed { failure, code, attempts }))])
    }

    /// Registered, and no operation runs.
    pub(super) fn while_idle(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Active(..) if self.is_ended() => Ok(()),
            Phase::Active(..) | Phase::Deleting { .. } => Err(Refusal::Busy(self.operation.id)),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Failed { .. }
            | Phase::Deleted => Err(Refusal::NotRegistered),
        }
    }

    pub(super) fn while_doing(&self, kind: Kind) -> Result<(), Refusal> {
        self.while_open()?;
        if self.operation.kind == kind { Ok(()) } else { Err(self.ended()) }
    }

    fn has_ended_as(&self, kind: Kind, end: &End) -> bool {
        self.operation.kind == kind && self.operation.end == *end
    }

    pub(super) fn request_deletion(
        &self,
        operation: OperationId,
        event: Event,
    ) -> Result<Vec<Event>, Refusal> {
        if self.operation.id == operation {
            return Ok(vec![]);
        }
        self.while_idle()?;
        Ok(vec![event])
    }
}
