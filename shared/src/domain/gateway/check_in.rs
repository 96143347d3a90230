//! Whether a main agent calls: which events, and what those make of its state. That we wrote it is another fact.

use chrono::{DateTime, Utc};

use super::{
    event::Event,
    refusal::Refusal,
    state::{Known, Phase},
};

/// What is known of an agent's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckIn {
    /// It has not called yet.
    #[default]
    Expected,
    /// It called.
    In {
        /// The first call after it was expected or missed.
        at: DateTime<Utc>,
    },
    /// It was woken and did not call in time; it is woken again.
    Missed,
    /// It was woken as often as may be and did not call.
    Offline,
}

impl CheckIn {
    /// The `status` that an agent is shown with.
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::Expected => "provisioned",
            Self::In { .. } => "checked_in",
            Self::Missed => "missed_check_in",
            Self::Offline => "offline",
        }
    }

    /// Whether somebody waits for its call.
    #[must_use]
    pub const fn is_awaited(self) -> bool {
        matches!(self, Self::Expected | Self::Missed)
    }
}

impl Known {
    pub(super) fn checked_in(&self, at: DateTime<Utc>) -> Result<Vec<Event>, Refusal> {
        let is_known = matches!(self.check_in, CheckIn::In { .. });
        self.turned(!is_known, Event::MainAgentCheckedIn { at })
    }

    pub(super) fn missed_check_in(&self, waited_ms: u64) -> Result<Vec<Event>, Refusal> {
        self.turned(self.check_in == CheckIn::Expected, Event::MainAgentMissedCheckIn { waited_ms })
    }

    pub(super) fn agent_went_offline(&self, wakes: u32, why: String) -> Result<Vec<Event>, Refusal> {
        self.turned(self.check_in.is_awaited(), Event::MainAgentWentOffline { wakes, why })
    }

    fn turned(&self, turns: bool, event: Event) -> Result<Vec<Event>, Refusal> {
        match self.phase {
            Phase::Active(..) if turns => Ok(vec![event]),
            Phase::Active(..) | Phase::Deleting { .. } => Ok(vec![]),
            Phase::Requested
            | Phase::AwaitingPairing { .. }
            | Phase::Verified(_)
            | Phase::Provisioned(..)
            | Phase::Failed { .. }
            | Phase::Deleted => Err(Refusal::NotRegistered),
        }
    }

    pub(super) fn evolve_check_in(&mut self, event: &Event) {
        if let Event::MainAgentCheckedIn { at } = event {
            self.check_in = CheckIn::In { at: *at };
        }
        if let Event::MainAgentMissedCheckIn { .. } = event {
            self.check_in = CheckIn::Missed;
        }
        if let Event::MainAgentWentOffline { .. } = event {
            self.check_in = CheckIn::Offline;
        }
    }
}
