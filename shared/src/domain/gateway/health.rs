//! Whether a registered gateway can be used, judged by probes, one after the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::{Cause, Failure, Verdict};

/// So many probes must fail in a row before a gateway counts as away: one that is restarted is not.
pub const MISSES_MAX: u32 = 3;
/// A gateway that stays away is probed less and less often, down to once in so many intervals.
pub const BACKOFF_LONGEST: u32 = 16;
/// The pause between two probes differs from the interval by at most this share of it, so that gateways which were
/// registered together are not probed together for ever.
const JITTER: f64 = 0.1;

/// Whether it can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It lets us in.
    #[default]
    Online,
    /// It is there and cannot be used: it refuses our credential or our device, or is no gateway that we take.
    Degraded,
    /// It is not reached.
    Offline,
}

impl Health {
    /// The `status` that a gateway of this health is shown with.
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::Online => "active",
            Self::Degraded => "degraded",
            Self::Offline => "offline",
        }
    }

    /// The health of a gateway that is shown with this status; `None` where it is not watched.
    #[must_use]
    pub fn shown(status: &str) -> Option<Self> {
        [Self::Online, Self::Degraded, Self::Offline].into_iter().find(|health| health.status() == status)
    }
}

/// What one probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// It let us in.
    Reached,
    /// Nobody was reached; that may pass by itself.
    Away,
    /// It cannot be used as it is.
    Unusable,
    /// It refused our credential, which must not be sent again by itself.
    Refused,
}

impl Sight {
    /// What a failure of this cause means.
    #[must_use]
    pub const fn of(cause: Cause) -> Self {
        match cause.verdict() {
            Verdict::Transient => Self::Away,
            Verdict::Permanent | Verdict::AwaitApproval => Self::Unusable,
            Verdict::NeverRepeat => Self::Refused,
        }
    }

    const fn health(self) -> Health {
        match self {
            Self::Reached => Health::Online,
            Self::Away => Health::Offline,
            Self::Unusable | Self::Refused => Health::Degraded,
        }
    }
}

/// What the last probes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Probes that failed since the last one that reached it.
    pub misses: u32,
    /// How many of the last of them found the same.
    pub alike: u32,
    /// What the last probe found; `None` if there was none yet.
    pub last: Option<Sight>,
}

impl Tally {
    /// With one more probe.
    #[must_use]
    pub fn after(self, sight: Sight) -> Self {
        if sight == Sight::Reached {
            return Self { misses: 0, alike: 0, last: Some(sight) };
        }
        let is_alike = self.last.is_some_and(|last| last.health() == sight.health());
        let alike = if is_alike { self.alike.saturating_add(1) } else { 1 };
        Self { misses: self.misses.saturating_add(1), alike, last: Some(sight) }
    }

    /// What the gateway's health is now, where that is not what it was. A refused credential is told at once; everything
    /// else must be found several times in a row.
    #[must_use]
    pub fn turns(self, from: Health) -> Option<Health> {
        let last = self.last?;
        let is_told = match (last, from) {
            (Sight::Reached | Sight::Refused, _) => true,
            (Sight::Away | Sight::Unusable, Health::Online) => self.misses >= MISSES_MAX,
            (Sight::Away | Sight::Unusable, Health::Degraded | Health::Offline) => self.alike >= MISSES_MAX,
        };
        Some(last.health()).filter(|health| is_told && *health != from)
    }

    /// How long after the last probe the next one begins; `None` for never by itself. `jitter` is uniform in `0.0..1.0`.
    #[must_use]
    pub fn wait(self, every: Duration, jitter: f64) -> Option<Duration> {
        if self.last == Some(Sight::Refused) {
            return None;
        }
        let doublings = self.misses.saturating_sub(MISSES_MAX).min(BACKOFF_LONGEST.ilog2());
        let factor = 1.0 - JITTER + 2.0 * JITTER * jitter.clamp(0.0, 1.0);
        Some(every.saturating_mul(1 << doublings).mul_f64(factor))
    }
}

/// Why a gateway cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ailment {
    /// Where and why the last probe failed.
    #[serde(flatten)]
    pub failure: Failure,
    /// Probes in a row that failed.
    pub misses: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sights: &[Sight]) -> Tally {
        sights.iter().fold(Tally::default(), |tally, sight| tally.after(*sight))
    }

    #[test]
    fn a_gateway_is_away_when_it_was_missed_three_times_in_a_row() {
        use Sight::{Away, Reached};
        let turns = |sights: &[Sight]| tally(sights).turns(Health::Online);
        assert_eq!(turns(&[]), None);
        assert_eq!(turns(&[Away, Away]), None);
        assert_eq!(turns(&[Away, Away, Reached, Away, Away]), None);
        assert_eq!(turns(&[Away, Away, Away]), Some(Health::Offline));
        assert_eq!(tally(&[Away; 9]).turns(Health::Offline), None, "that is known");
        assert_eq!(tally(&[Away, Away, Away, Reached]).turns(Health::Offline), Some(Health::Online));
    }

    #[test]
    fn a_refused_credential_is_told_at_once_and_ends_the_probes() {
        let refused = tally(&[Sight::Refused]);
        assert_eq!(refused.turns(Health::Online), Some(Health::Degraded));
        assert_eq!(refused.turns(Health::Degraded), None);
        assert_eq!(refused.wait(Duration::from_mins(1), 0.5), None);
    }

    #[test]
    fn what_fails_now_so_and_now_otherwise_does_not_turn_with_every_probe() {
        use Sight::{Away, Unusable};
        assert_eq!(tally(&[Away, Unusable, Away]).turns(Health::Online), Some(Health::Offline));
        assert_eq!(tally(&[Away, Unusable, Away, Unusable]).turns(Health::Offline), None);
        let others = [Away, Unusable, Unusable, Unusable];
        assert_eq!(tally(&others).turns(Health::Offline), Some(Health::Degraded));
    }

    #[test]
    fn the_pause_is_about_the_interval_and_grows_while_the_gateway_stays_away() {
        let seconds = |misses: usize, jitter| {
            let wait = tally(&vec![Sight::Away; misses]).wait(Duration::from_mins(1), jitter).unwrap();
            (wait + Duration::from_millis(500)).as_secs()
        };
        assert_eq!([0, 1, 2, 3].map(|misses| seconds(misses, 0.5)), [60; 4]);
        assert_eq!([4, 5, 6, 7, 8, 900].map(|misses| seconds(misses, 0.5)), [120, 240, 480, 960, 960, 960]);
        assert_eq!([0.0, 1.0].map(|jitter| seconds(0, jitter)), [54, 66]);
    }
}
