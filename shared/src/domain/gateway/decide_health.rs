//! What probes make of a registered gateway: which events, and what those make of its state.

use super::{
    event::{Event, Verified},
    failure::{Failure, Verdict},
    health::{Ailment, Health},
    refusal::Refusal,
    state::{Known, Phase},
};

impl Known {
    pub(super) fn reached(&self, verified: Verified) -> Result<Vec<Event>, Refusal> {
        let Some(before) = self.watched()? else { return Ok(vec![]) };
        let mut events = vec![];
        if self.health() != Health::Online {
            events.push(Event::CameOnline { latency_ms: verified.latency_ms });
        }
        if before.runtime_version != verified.runtime_version {
            events.push(Event::VersionChanged { from: before.runtime_version.clone(), verified });
        }
        Ok(events)
    }

    pub(super) fn not_usable(&self, health: Health, ailment: Ailment) -> Result<Vec<Event>, Refusal> {
        if self.watched()?.is_none() || self.health() == health {
            return Ok(vec![]);
        }
        Ok(match health {
            Health::Online => vec![],
            Health::Degraded => vec![Event::Degraded(Box::new(ailment))],
            Health::Offline => vec![Event::WentOffline(Box::new(ailment))],
        })
    }

    /// What it said of itself last; `None` while it is being removed, when nobody cares any more.
    fn watched(&self) -> Result<Option<&Verified>, Refusal> {
        match &self.phase {
            Phase::Active(verified, _) => Ok(Some(verified)),
            Phase::Deleting { .. } => Ok(None),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Failed { .. }
            | Phase::Deleted => Err(Refusal::NotRegistered),
        }
    }

    /// Whether it can be used, as far as the log knows.
    #[must_use]
    pub fn health(&self) -> Health {
        self.ailment.as_ref().map_or(Health::Online, |(health, _)| *health)
    }

    /// Its credential was refused: nothing dials it by itself until that changes or a person asks.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let refuses = |failure: &Failure| failure.cause.verdict() == Verdict::NeverRepeat;
        self.ailment.as_ref().is_some_and(|(_, failure)| refuses(failure))
    }

    pub(super) fn evolve_health(&mut self, event: &Event) {
        if let Event::WentOffline(ailment) = event {
            self.ailment = Some((Health::Offline, ailment.failure.clone()));
        }
        if let Event::Degraded(ailment) = event {
            self.ailment = Some((Health::Degraded, ailment.failure.clone()));
        }
        if let Event::CameOnline { .. } = event {
            self.ailment = None;
        }
        if let (Event::VersionChanged { verified: told, .. }, Phase::Active(verified, _)) =
            (event, &mut self.phase)
        {
            verified.clone_from(told);
        }
    }

    /// A job of its own was refused with the credential that serves.
    pub(super) fn found_refused(&mut self, failure: &Failure) {
        if failure.cause.verdict() == Verdict::NeverRepeat {
            self.ailment = Some((Health::Degraded, failure.clone()));
        }
    }
}
