//! Where a gateway is in its life, folded from its events.

use chrono::{DateTime, Utc};

use super::{
    event::{Event, MainAgent, Requested, Verified},
    failure::{Code, Failure},
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
    /// What was asked for.
    pub request: Requested,
    /// The HTTP request that asked.
    pub request_id: Option<String>,
    /// When.
    pub requested_at: DateTime<Utc>,
    /// When the last event of its operation was recorded.
    pub progressed_at: DateTime<Utc>,
    /// The stream's version.
    pub revision: u64,
    /// Attempts that ended.
    pub attempts: u32,
    /// An attempt failed at or after the agent stage, so the agent may exist on the gateway.
    pub agent_may_exist: bool,
    /// The sealed token was erased.
    pub token_erased: bool,
    /// How far it is.
    pub phase: Phase,
}

/// How far a registration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for a worker, or for the next attempt.
    Requested,
    /// Waiting for a person's approval.
    AwaitingPairing {
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
    /// Failed.
    Failed {
        /// Where and why.
        failure: Failure,
        /// The problem code.
        code: Code,
        /// Whether what may be left on the gateway was told: removed, or left behind.
        cleaned: bool,
    },
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
            request_id: occurrence.request_id.clone(),
            requested_at: occurrence.at,
            progressed_at: occurrence.at,
            revision: occurrence.version,
            attempts: 0,
            agent_may_exist: false,
            token_erased: false,
            phase: Phase::Requested,
        }
    }

    /// Whether the registration has its terminal event.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Active(..) | Phase::Failed { .. })
    }

    fn evolve(mut self, event: &Event, occurrence: &Occurrence) -> Self {
        self.revision = occurrence.version;
        if !self.is_ended() {
            self.progressed_at = occurrence.at;
        }
        match event {
            Event::Requested(_) => {}
            Event::AttemptFailed { attempt, failure, .. } => {
                self.attempts = *attempt;
                self.agent_may_exist |= failure.stage >= super::failure::Stage::Agent;
                self.phase = Phase::Requested;
            }
            Event::PairingRequired { until, request_id, .. } => {
                self.phase = Phase::AwaitingPairing { until: *until, request_id: request_id.clone() };
            }
            Event::Verified(verified) => self.phase = Phase::Verified(verified.clone()),
            Event::MainAgentProvisioned(agent) => {
                self.agent_may_exist = true;
                if let Phase::Verified(verified) = &self.phase {
                    self.phase = Phase::Provisioned(verified.clone(), agent.clone());
                }
            }
            Event::Created {} => {
                self.attempts += 1;
                if let Phase::Provisioned(verified, agent) = &self.phase {
                    self.phase = Phase::Active(verified.clone(), agent.clone());
                }
            }
            Event::CreationFailed { failure, code, attempts } => {
                self.attempts = *attempts;
                self.phase = Phase::Failed { failure: failure.clone(), code: *code, cleaned: false };
            }
            Event::MainAgentRemoved { .. } | Event::MainAgentLeftBehind { .. } => {
                if let Phase::Failed { cleaned, .. } = &mut self.phase {
                    *cleaned = true;
                }
            }
            Event::SecretErased { .. } => self.token_erased = true,
        }
        self
    }
}
