//! Which events a command causes. Pure; no events means it was already so, for redelivery is normal.

use super::{
    command::{Command, Leftover},
    event::Event,
    failure::Failure,
    operation::{End, Kind},
    refusal::Refusal,
    state::{Gateway, Known, Phase},
};
use crate::ids::OperationId;

impl Gateway {
    /// Decides.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that says why not: nothing is recorded then.
    pub fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match (self, command) {
            (Self::Unknown, Command::Request(request)) => Ok(vec![Event::Requested(request)]),
            (Self::Unknown, _) => Err(Refusal::NotRegistered),
            (Self::Known(known), command) => known.decide(command),
        }
    }
}

impl Known {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Request(request) if *request == self.request => Ok(vec![]),
            Command::Request(_) => Err(Refusal::AlreadyRegistered(self.request.gateway)),
            Command::RecordAttemptFailed { attempt, failure, retry_at, agent_may_remain } => {
                self.while_open()?;
                if attempt <= self.operation.attempts {
                    return Ok(vec![]);
                }
                Ok(vec![Event::AttemptFailed { attempt, failure, retry_at, agent_may_remain }])
            }
            Command::RecordPairingRequired { device_id, request_id, approve, until, agent_may_remain } => {
                self.while_doing(Kind::Create)?;
                let is_known = matches!(&self.phase, Phase::AwaitingPairing { request_id: known, .. } if *known == request_id);
                if is_known && agent_may_remain == self.agent_may_exist {
                    return Ok(vec![]);
                }
                Ok(vec![Event::PairingRequired { device_id, request_id, approve, until, agent_may_remain }])
            }
            Command::RecordCreated { verified, agent } => {
                if self.is_registered() {
                    return Ok(vec![]);
                }
                self.while_doing(Kind::Create)?;
                Ok(vec![Event::Verified(verified), Event::MainAgentProvisioned(agent), Event::Created {}])
            }
            Command::RecordFailed { failure, attempts, leftover } => self.fail(failure, attempts, leftover),
            Command::RecordAgentRemoved { agent_id, why } => {
                self.clean_up(Event::MainAgentRemoved { agent_id, why })
            }
            Command::RecordAgentLeftBehind { agent_id, why } => {
                self.clean_up(Event::MainAgentLeftBehind { agent_id, why })
            }
            Command::Retry { operation, patience, by } => {
                self.retry(operation, Event::CreationRetried { operation, patience, by })
            }
            Command::Cancel { operation, by, reason } => self.cancel(operation, by, reason),
            Command::RequestUpdate { update, only_at } => self.request_update(update, only_at),
            Command::RecordUpdated(updated) => self.updated(updated),
            Command::RecordUpdateFailed { failure, attempts, left_behind } => {
                self.update_failed(failure, attempts, left_behind)
            }
            Command::RecordAgentRefreshed(agent) => self.refreshed(agent),
            Command::RequestSync(sync) => self.request_sync(sync),
            Command::RecordSynced(synced) => self.record_synced(synced),
            Command::RecordSyncFailed { failure, attempts } => self.sync_failed(failure, attempts),
            Command::RequestDeletion { operation, patience, force, by } => {
                self.request_deletion(operation, Event::DeletionRequested { operation, patience, force, by })
            }
            Command::RecordDeleted { removed, left, why } => self.deleted(removed, left, why),
            Command::RecordDeletionFailed { failure, attempts } => {
                let code = failure.cause.code();
                self.deletion_failed(Event::DeletionFailed { failure, code, attempts })
            }
            Command::RecordReached(verified) => self.reached(verified),
            Command::RecordNotUsable { health, ailment } => self.not_usable(health, *ailment),
            Command::RecordCheckedIn { at } => self.checked_in(at),
            Command::RecordMissedCheckIn { waited_ms } => self.missed_check_in(waited_ms),
            Command::RecordAgentOffline { wakes, why } => self.agent_went_offline(wakes, why),
            Command::RecordTokenErased { why } => self.token_erased(why),
        }
    }

    fn fail(&self, failure: Failure, attempts: u32, leftover: Leftover) -> Result<Vec<Event>, Refusal> {
        if matches!((&self.phase, &self.operation.end), (Phase::Failed { .. }, End::Failed(..))) {
            return Ok(vec![]);
        }
        self.while_doing(Kind::Create)?;
        let why = format!("the registration failed at the {} stage", failure.stage);
        let code = failure.cause.code();
        let agent_may_remain = matches!(leftover, Leftover::MayRemain | Leftover::LeftBehind { .. });
        let failed = Event::CreationFailed { failure, code, attempts, agent_may_remain };
        Ok(std::iter::once(failed).chain(leftover.told(why)).collect())
    }

    fn clean_up(&self, event: Event) -> Result<Vec<Event>, Refusal> {
        match self.phase {
            Phase::Failed { cleaned: false } => Ok(vec![event]),
            Phase::Active(..) if self.moved_from.is_some() => Ok(vec![event]),
            Phase::Failed { cleaned: true } | Phase::Active(..) => Ok(vec![]),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Deleting { .. }
            | Phase::Deleted => Err(Refusal::NotFailed(self.request.gateway)),
        }
    }

    fn retry(&self, operation: OperationId, event: Event) -> Result<Vec<Event>, Refusal> {
        if self.operation.id == operation {
            return Ok(vec![]);
        }
        match self.phase {
            Phase::Failed { .. } if self.token_erased => Err(Refusal::TokenErased(self.request.gateway)),
            Phase::Failed { .. } => Ok(vec![event]),
            Phase::Deleted => Err(Refusal::NotRegistered),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Active(..)
            | Phase::Deleting { .. } => Err(Refusal::NotFailed(self.request.gateway)),
        }
    }

    fn cancel(&self, operation: OperationId, by: String, reason: String) -> Result<Vec<Event>, Refusal> {
        if self.operation.id != operation {
            return Err(Refusal::Finished(operation));
        }
        match (&self.operation.end, self.operation.kind) {
            (End::Open, Kind::Create) => Ok(vec![Event::CreationCancelled { operation, by, reason }]),
            (End::Open, Kind::Update | Kind::Sync | Kind::Delete) => Err(Refusal::NotCancellable(operation)),
            (End::Cancelled { .. }, _) => Ok(vec![]),
            (End::Succeeded | End::Failed(..), _) => Err(Refusal::Finished(operation)),
        }
    }

    fn deleted(
        &self,
        removed: Vec<String>,
        left: Vec<String>,
        why: Option<String>,
    ) -> Result<Vec<Event>, Refusal> {
        let erased = Event::SecretErased {
            which: "gateway token, agent token".to_owned(),
            why: "the gateway was deleted".to_owned(),
        };
        match self.phase {
            Phase::Deleted => Ok(vec![]),
            Phase::Deleting { .. } => {
                let moved = self.moved_from.as_ref().map(|before| Event::MainAgentLeftBehind {
                    agent_id: before.gateway_agent_id.on_gateway(),
                    why: format!("the gateway was deleted before its agent on {} was removed", before.url),
                });
                let gone = [erased, Event::Deleted { removed, left, why }];
                Ok(moved.into_iter().chain(gone).collect())
            }
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Active(..)
            | Phase::Failed { .. } => Err(self.ended()),
        }
    }

    fn deletion_failed(&self, event: Event) -> Result<Vec<Event>, Refusal> {
        match (&self.phase, self.operation.kind) {
            (Phase::Deleting { .. }, _) => Ok(vec![event]),
            (Phase::Active(..), Kind::Delete) if self.is_ended() => Ok(vec![]),
            _ => Err(self.ended()),
        }
    }

    fn token_erased(&self, why: String) -> Result<Vec<Event>, Refusal> {
        match self.phase {
            Phase::Failed { .. } if self.token_erased => Ok(vec![]),
            Phase::Failed { .. } => {
                Ok(vec![Event::SecretErased { which: "gateway token, agent token".to_owned(), why }])
            }
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Active(..)
            | Phase::Deleting { .. }
            | Phase::Deleted => Err(Refusal::NotFailed(self.request.gateway)),
        }
    }

    pub(super) fn while_open(&self) -> Result<(), Refusal> {
        if self.is_ended() { Err(self.ended()) } else { Ok(()) }
    }

    pub(super) fn ended(&self) -> Refusal {
        let outcome = match (&self.operation.end, self.operation.kind) {
            (End::Open, _) => "was followed by another operation",
            (End::Succeeded, _) => "succeeded",
            (End::Failed(..), _) => "failed",
            (End::Cancelled { .. }, _) => "was cancelled",
        };
        Refusal::AlreadyEnded { gateway: self.request.gateway, outcome }
    }
}

impl Leftover {
    /// What is told of it at once.
    fn told(self, why: String) -> Option<Event> {
        match self {
            Self::Nothing | Self::MayRemain => None,
            Self::Removed { agent_id } => Some(Event::MainAgentRemoved { agent_id, why }),
            Self::LeftBehind { agent_id, why } => Some(Event::MainAgentLeftBehind { agent_id, why }),
        }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
