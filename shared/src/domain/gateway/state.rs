//! Where a gateway is in its life, folded from its events.

use chrono::{DateTime, Utc};

use super::{
    change::Changes,
    check_in::CheckIn,
    event::{Event, MainAgent, Requested, Verified},
    failure::Failure,
    health::Health,
    operation::{End, Kind, Operation},
    sync::{Options, Synced},
};

/// When and under which request an event was recorded: what a fold needs beside the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// The stream's version after it; the first event makes it 1.
    pub version: u64,
    /// The HTTP request that caused it, where one did.
    pub request_id: Option<String>,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Gateway {
    /// No event yet.
    #[default]
    Unknown,
    /// Somebody asked for it.
    Known(Box<Known>),
}

/// A gateway that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What was asked for, with every change that took effect.
    pub request: Requested,
    /// When.
    pub requested_at: DateTime<Utc>,
    /// When one of the documented fields last changed.
    pub changed_at: DateTime<Utc>,
    /// A change that is being tried.
    pub changes: Option<Changes>,
    /// The last synchronization of templates, and what came of it.
    pub sync: Option<(Options, Option<Synced>)>,
    /// How the gateway was reached where it was before, while its agent is still to be removed there.
    pub moved_from: Option<Box<Requested>>,
    /// The agent's files are older than the gateway's name.
    pub agent_is_stale: bool,
    /// When its main agent was provisioned.
    pub provisioned_at: Option<DateTime<Utc>>,
    /// The stream's version.
    pub revision: u64,
    /// The agent is on the gateway, or may be: an attempt asked for it, and nobody saw it gone.
    pub agent_may_exist: bool,
    /// Whether its main agent calls.
    pub check_in: CheckIn,
    /// Why it cannot be used now, as far as probes and jobs found out.
    pub ailment: Option<(Health, Failure)>,
    /// The sealed token was erased.
    pub token_erased: bool,
    /// The last thing that was asked for.
    pub operation: Operation,
    /// How far it is.
    pub phase: Phase,
}

/// How far a gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for a worker, or for the next attempt.
    Requested,
    /// Waiting for a person's approval.
    AwaitingPairing {
        /// Since when.
        since: DateTime<Utc>,
        /// When waiting ends.
        until: DateTime<Utc>,
        /// The gateway's request.
        request_id: Option<String>,
    },
    /// The gateway let us in.
    Verified(Verified),
    /// The main agent stands.
    Provisioned(Verified, MainAgent),
    /// Registered.
    Active(Verified, MainAgent),
    /// The registration failed or was cancelled.
    Failed {
        /// Whether what may be left on the gateway was told: removed, or left behind.
        cleaned: bool,
    },
    /// Registered, and to be removed.
    Deleting {
        /// As registered.
        verified: Verified,
        /// As registered.
        agent: MainAgent,
        /// Our side goes even if the gateway cannot be reached.
        force: bool,
    },
    /// No longer registered.
    Deleted,
}

impl Gateway {
    /// Applies one recorded event. Total: history is never refused.
    #[must_use]
    pub fn evolve(self, event: &Event, occurrence: &Occurrence) -> Self {
        if let Event::Requested(request) = event {
            return Self::Known(Box::new(Known::new(request, occurrence)));
        }
        match self {
            Self::Unknown => Self::Unknown,
            Self::Known(known) => Self::Known(Box::new(known.evolve(event, occurrence))),
        }
    }

    /// Whether the last event is its last operation's outcome.
    #[must_use]
    pub fn has_just_ended(&self) -> bool {
        matches!(self, Self::Known(known) if known.has_just_ended())
    }

    /// Folds a whole history.
    pub fn fold<'a>(history: impl IntoIterator<Item = (&'a Event, &'a Occurrence)>) -> Self {
        history
            .into_iter()
            .fold(Self::Unknown, |gateway, (event, occurrence)| gateway.evolve(event, occurrence))
    }
}

impl Known {
    fn new(request: &Requested, occurrence: &Occurrence) -> Self {
        Self {
            request: request.clone(),
            requested_at: occurrence.at,
            changed_at: occurrence.at,
            changes: None,
            sync: None,
            moved_from: None,
            agent_is_stale: false,
            provisioned_at: None,
            revision: occurrence.version,
            agent_may_exist: false,
            check_in: CheckIn::default(),
            ailment: None,
            token_erased: false,
            operation: Operation::new((request.operation, Kind::Create), request.patience, occurrence),
            phase: Phase::Requested,
        }
    }

    /// Whether its last operation has its outcome.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.operation.end != End::Open
    }

    /// Whether the last event is its last operation's outcome.
    #[must_use]
    pub fn has_just_ended(&self) -> bool {
        self.operation.ended_at == Some(self.revision)
    }

    /// Whether it is registered.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self.phase, Phase::Active(..) | Phase::Deleting { .. })
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each event")]
    fn evolve(mut self, event: &Event, occurrence: &Occurrence) -> Self {
        self.revision = occurrence.version;
        let was_ended = self.is_ended();
        if !was_ended {
            self.operation.progressed_at = occurrence.at;
        }
        match event {
            Event::Requested(_) => {}
            Event::AttemptFailed { attempt, retry_at, agent_may_remain, .. } => {
                self.operation.attempt_failed(*attempt, occurrence.at, *retry_at);
                if self.operation.kind == Kind::Create {
                    self.agent_may_exist = *agent_may_remain;
                    self.phase = Phase::Requested;
                }
            }
            Event::PairingRequired { until, request_id, agent_may_remain, .. } => {
                self.agent_may_exist = *agent_may_remain;
                let since = self.awaiting_since(occurrence);
                self.phase = Phase::AwaitingPairing { since, until: *until, request_id: request_id.clone() };
            }
            Event::Verified(verified) => self.phase = Phase::Verified(verified.clone()),
            Event::MainAgentProvisioned(agent) => {
                self.agent_may_exist = true;
                self.provisioned_at = Some(occurrence.at);
                self.stand(agent);
            }
            Event::Created {} => {
                self.operation.succeed();
                if let Phase::Provisioned(verified, agent) = &self.phase {
                    self.phase = Phase::Active(verified.clone(), agent.clone());
                }
            }
            Event::CreationFailed { failure, code, attempts, agent_may_remain } => {
                self.operation.fail(failure, *code, *attempts);
                self.agent_may_exist = *agent_may_remain;
                self.phase = Phase::Failed { cleaned: false };
            }
            Event::CreationCancelled { by, reason, .. } => {
                self.operation.end = End::Cancelled { by: by.clone(), reason: reason.clone() };
                self.phase = Phase::Failed { cleaned: false };
            }
            Event::CreationRetried { operation, patience, .. } => {
                self.operation = Operation::new((*operation, Kind::Create), *patience, occurrence);
                self.phase = Phase::Requested;
            }
            Event::MainAgentRemoved { .. } | Event::MainAgentLeftBehind { .. } => {
                self.agent_may_exist = matches!(event, Event::MainAgentLeftBehind { .. });
                self.moved_from = None;
                if let Phase::Failed { cleaned, .. } = &mut self.phase {
                    *cleaned = true;
                }
            }
            Event::UpdateRequested(_)
            | Event::Updated(_)
            | Event::UpdateFailed(_)
            | Event::SyncRequested(_)
            | Event::Synced(_)
            | Event::SyncFailed(_) => self.evolve_change(event, occurrence),
            Event::DeletionRequested { .. } | Event::Deleted { .. } | Event::DeletionFailed { .. } => {
                self.evolve_deletion(event, occurrence);
            }
            Event::WentOffline(_)
            | Event::Degraded(_)
            | Event::CameOnline { .. }
            | Event::VersionChanged { .. } => self.evolve_health(event),
            Event::MainAgentCheckedIn { .. }
            | Event::MainAgentMissedCheckIn { .. }
            | Event::MainAgentWentOffline { .. } => self.evolve_check_in(event),
            Event::SecretErased { .. } => self.token_erased = true,
        }
        if !was_ended && self.is_ended() {
            self.operation.ended_at = Some(occurrence.version);
        }
        self
    }

    fn stand(&mut self, agent: &MainAgent) {
        self.agent_is_stale = false;
        match &self.phase {
            Phase::Verified(verified) => {
                self.phase = Phase::Provisioned(verified.clone(), agent.clone());
            }
            Phase::Active(verified, _) => self.phase = Phase::Active(verified.clone(), agent.clone()),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Provisioned(..)
            | Phase::Failed { .. }
            | Phase::Deleting { .. }
            | Phase::Deleted => {}
        }
    }

    fn awaiting_since(&self, occurrence: &Occurrence) -> DateTime<Utc> {
        match self.phase {
            Phase::AwaitingPairing { since, .. } => since,
            Phase::Requested
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Active(..)
            | Phase::Failed { .. }
            | Phase::Deleting { .. }
            | Phase::Deleted => occurrence.at,
        }
    }

    fn evolve_deletion(&mut self, event: &Event, occurrence: &Occurrence) {
        if let Event::DeletionRequested { operation, patience, force, .. } = event {
            self.operation = Operation::new((*operation, Kind::Delete), *patience, occurrence);
            if let Phase::Active(verified, agent) = &self.phase {
                let (verified, agent) = (verified.clone(), agent.clone());
                self.phase = Phase::Deleting { verified, agent, force: *force };
            }
        }
        if let Event::Deleted { .. } = event {
            self.operation.succeed();
            self.phase = Phase::Deleted;
        }
        if let Event::DeletionFailed { failure, code, attempts } = event {
            self.operation.fail(failure, *code, *attempts);
            self.found_refused(failure);
            if let Phase::Deleting { verified, agent, .. } = &self.phase {
                self.phase = Phase::Active(verified.clone(), agent.clone());
            }
        }
    }
}
