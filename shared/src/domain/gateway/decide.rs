//! Which events a command causes. Pure; no events means it was already so, for redelivery is normal.

use super::{
    command::{Command, Leftover},
    event::Event,
    failure::{Failure, Stage},
    refusal::Refusal,
    state::{Gateway, Known, Phase},
};

impl Gateway {
    /// Decides.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotRegistered`] without a request, [`Refusal::AlreadyRegistered`] for a second one,
    /// [`Refusal::AlreadyEnded`] if the registration ended with another outcome, [`Refusal::NotFailed`] for a
    /// clean-up that no failure called for.
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
            Command::RecordAttemptFailed { attempt, failure, retry_at } => {
                self.while_open()?;
                if attempt <= self.attempts {
                    return Ok(vec![]);
                }
                Ok(vec![Event::AttemptFailed { attempt, failure, retry_at }])
            }
            Command::RecordPairingRequired { device_id, request_id, approve, until } => {
                self.while_open()?;
                if matches!(&self.phase, Phase::AwaitingPairing { request_id: known, .. } if *known == request_id)
                {
                    return Ok(vec![]);
                }
                Ok(vec![Event::PairingRequired { device_id, request_id, approve, until }])
            }
            Command::RecordCreated { verified, agent } => match self.phase {
                Phase::Active(..) => Ok(vec![]),
                Phase::Failed { .. } => Err(self.ended("failed")),
                Phase::Requested
                | Phase::AwaitingPairing { .. }
                | Phase::Verified(_)
                | Phase::Provisioned(..) => {
                    Ok(vec![Event::Verified(verified), Event::MainAgentProvisioned(agent), Event::Created {}])
                }
            },
            Command::RecordFailed { failure, attempts, leftover } => self.fail(failure, attempts, leftover),
            Command::RecordAgentRemoved { agent_id, why } => {
                self.clean_up(Event::MainAgentRemoved { agent_id, why })
            }
            Command::RecordAgentLeftBehind { agent_id, why } => {
                self.clean_up(Event::MainAgentLeftBehind { agent_id, why })
            }
            Command::RecordTokenErased { why } => match self.phase {
                Phase::Failed { .. } if self.token_erased => Ok(vec![]),
                Phase::Failed { .. } => {
                    Ok(vec![Event::SecretErased { which: "gateway token".to_owned(), why }])
                }
                Phase::Requested
                | Phase::AwaitingPairing { .. }
                | Phase::Verified(_)
                | Phase::Provisioned(..)
                | Phase::Active(..) => Err(Refusal::NotFailed(self.request.gateway)),
            },
        }
    }

    fn fail(&self, failure: Failure, attempts: u32, leftover: Leftover) -> Result<Vec<Event>, Refusal> {
        match self.phase {
            Phase::Failed { .. } => return Ok(vec![]),
            Phase::Active(..) => return Err(self.ended("succeeded")),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..) => {}
        }
        let why = format!("the registration failed at the {} stage", failure.stage);
        let code = failure.cause.code();
        let mut events = vec![Event::CreationFailed { failure, code, attempts }];
        match leftover {
            Leftover::Nothing | Leftover::MayRemain => {}
            Leftover::Removed { agent_id } => events.push(Event::MainAgentRemoved { agent_id, why }),
            Leftover::LeftBehind { agent_id, why } => {
                events.push(Event::MainAgentLeftBehind { agent_id, why });
            }
        }
        Ok(events)
    }

    fn clean_up(&self, event: Event) -> Result<Vec<Event>, Refusal> {
        match self.phase {
            Phase::Failed { cleaned: true, .. } => Ok(vec![]),
            Phase::Failed { cleaned: false, .. } => Ok(vec![event]),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Active(..) => Err(Refusal::NotFailed(self.request.gateway)),
        }
    }

    fn while_open(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Active(..) => Err(self.ended("succeeded")),
            Phase::Failed { .. } => Err(self.ended("failed")),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..) => Ok(()),
        }
    }

    fn ended(&self, outcome: &'static str) -> Refusal {
        Refusal::AlreadyEnded { gateway: self.request.gateway, outcome }
    }
}

impl Failure {
    /// Whether the agent may exist on the gateway after this failure.
    #[must_use]
    pub fn reached_agent(&self) -> bool {
        self.stage >= Stage::Agent
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
