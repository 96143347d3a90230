//! Where a gateway is in its life, folded from its events.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    event::{Event, MainAgent, Requested, Verified},
    failure::{Code, Failure},
    patience::{ATTEMPT_LONGEST, Patience},
};
use crate::ids::OperationId;

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
    /// What was asked for.
    pub request: Requested,
    /// When.
    pub requested_at: DateTime<Utc>,
    /// When its main agent was provisioned.
    pub provisioned_at: Option<DateTime<Utc>>,
    /// The stream's version.
    pub revision: u64,
    /// The agent is on the gateway, or may be: an attempt asked for it, and nobody saw it gone.
    pub agent_may_exist: bool,
    /// The sealed token was erased.
    pub token_erased: bool,
    /// The last thing that was asked for.
    pub operation: Operation,
    /// How far it is.
    pub phase: Phase,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Registers a gateway, the first time or again.
    Create,
    /// Removes it.
    Delete,
}

impl Kind {
    /// The name that is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create_gateway",
            Self::Delete => "delete_gateway",
        }
    }
}

/// Something that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What it does.
    pub kind: Kind,
    /// How long to try.
    pub patience: Patience,
    /// The HTTP request that asked.
    pub request_id: Option<String>,
    /// When.
    pub requested_at: DateTime<Utc>,
    /// When its last event was recorded.
    pub progressed_at: DateTime<Utc>,
    /// Attempts that ended.
    pub attempts: u32,
    /// How long they took, with the pauses between them.
    pub spent: TimeDelta,
    /// When the attempt that is next may begin, or might have begun.
    pub due: DateTime<Utc>,
    /// Its outcome.
    pub end: End,
}

/// The outcome of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Not known yet.
    Open,
    /// Done.
    Succeeded,
    /// Not done.
    Failed(Failure, Code),
    /// Ended by somebody.
    Cancelled {
        /// By whom.
        by: String,
        /// Why.
        reason: String,
    },
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
            provisioned_at: None,
            revision: occurrence.version,
            agent_may_exist: false,
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

    /// Whether it is registered.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self.phase, Phase::Active(..) | Phase::Deleting { .. })
    }

    fn evolve(mut self, event: &Event, occurrence: &Occurrence) -> Self {
        self.revision = occurrence.version;
        if !self.is_ended() {
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
                let since = match self.phase {
                    Phase::AwaitingPairing { since, .. } => since,
                    Phase::Requested
                    | Phase::Verified(_)
                    | Phase::Provisioned(..)
                    | Phase::Active(..)
                    | Phase::Failed { .. }
                    | Phase::Deleting { .. }
                    | Phase::Deleted => occurrence.at,
                };
                self.phase = Phase::AwaitingPairing { since, until: *until, request_id: request_id.clone() };
            }
            Event::Verified(verified) => self.phase = Phase::Verified(verified.clone()),
            Event::MainAgentProvisioned(agent) => {
                self.agent_may_exist = true;
                self.provisioned_at = Some(occurrence.at);
                if let Phase::Verified(verified) = &self.phase {
                    self.phase = Phase::Provisioned(verified.clone(), agent.clone());
                }
            }
            Event::Created {} => {
                self.operation.attempts += 1;
                self.operation.end = End::Succeeded;
                if let Phase::Provisioned(verified, agent) = &self.phase {
                    self.phase = Phase::Active(verified.clone(), agent.clone());
                }
            }
            Event::CreationFailed { failure, code, attempts, agent_may_remain } => {
                self.operation.attempts = *attempts;
                self.operation.end = End::Failed(failure.clone(), *code);
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
                if let Phase::Failed { cleaned, .. } = &mut self.phase {
                    *cleaned = true;
                }
            }
            Event::DeletionRequested { .. } | Event::Deleted { .. } | Event::DeletionFailed { .. } => {
                self.evolve_deletion(event, occurrence);
            }
            Event::SecretErased { .. } => self.token_erased = true,
        }
        self
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
            self.operation.attempts += 1;
            self.operation.end = End::Succeeded;
            self.phase = Phase::Deleted;
        }
        if let Event::DeletionFailed { failure, code, attempts } = event {
            self.operation.attempts = *attempts;
            self.operation.end = End::Failed(failure.clone(), *code);
            if let Phase::Deleting { verified, agent, .. } = &self.phase {
                self.phase = Phase::Active(verified.clone(), agent.clone());
            }
        }
    }
}

impl Operation {
    fn new((id, kind): (OperationId, Kind), patience: Patience, occurrence: &Occurrence) -> Self {
        Self {
            id,
            kind,
            patience,
            request_id: occurrence.request_id.clone(),
            requested_at: occurrence.at,
            progressed_at: occurrence.at,
            attempts: 0,
            spent: TimeDelta::zero(),
            due: occurrence.at,
            end: End::Open,
        }
    }

    /// For how long it has been tried. Time in which no worker held the job does not count: whatever lies between the
    /// instant an attempt was due and its end counts as one attempt at most.
    #[must_use]
    pub fn tried_for(&self, now: DateTime<Utc>) -> TimeDelta {
        self.spent + (now - self.due).clamp(TimeDelta::zero(), ATTEMPT_LONGEST)
    }

    fn attempt_failed(&mut self, attempt: u32, at: DateTime<Utc>, retry_at: DateTime<Utc>) {
        self.attempts = attempt;
        self.spent = self.tried_for(at) + (retry_at - at).max(TimeDelta::zero());
        self.due = retry_at;
    }
}
