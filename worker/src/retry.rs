//! What follows a failed attempt: a pure function of the cause, the attempt, the time spent and the patience.

use std::time::Duration;

use chrono::TimeDelta;
use shared::domain::gateway::{
    failure::{Cause, Verdict},
    patience::{BACKGROUND_LONGEST, Patience},
};

/// Most attempts of a background registration.
pub const ATTEMPTS_MAX: u32 = 5;
/// Backoff before the second attempt; doubles.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Longest backoff.
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(5);
/// How often a gateway is asked whether our device was approved, at first.
pub const PAIRING_POLL_FIRST: Duration = Duration::from_secs(5);
/// How often later.
pub const PAIRING_POLL_LATER: Duration = Duration::from_secs(15);
/// How long "at first" is.
const PAIRING_FIRST: Duration = Duration::from_mins(1);
/// Longest pause between two tries of a clean-up.
pub const CLEAN_UP_LONGEST: Duration = Duration::from_mins(5);

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt after this delay.
    Retry(Duration),
    /// Ask again until the pairing wait ends.
    AwaitApproval,
    /// The operation failed.
    GiveUp,
}

/// What is known when an attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// For how long it has been tried, pauses included.
    pub elapsed: TimeDelta,
    /// Uniform in `0.0..1.0`.
    pub jitter: f64,
    /// A wait that the gateway asked for.
    pub asked: Option<Duration>,
}

/// Decides.
#[must_use]
pub fn next(cause: Cause, patience: Patience, round: Round) -> Next {
    // Somebody waits: what could be repeated was repeated inside the attempt.
    if patience == Patience::Waiting {
        return Next::GiveUp;
    }
    match cause.verdict() {
        Verdict::Transient if round.attempt < ATTEMPTS_MAX => {
            let jittered = backoff(round.attempt, BACKOFF_LONGEST).mul_f64(round.jitter.clamp(0.0, 1.0));
            let delay = round.asked.unwrap_or(jittered);
            let left = (BACKGROUND_LONGEST - round.elapsed).to_std().unwrap_or_default();
            if delay < left { Next::Retry(delay) } else { Next::GiveUp }
        }
        Verdict::AwaitApproval => Next::AwaitApproval,
        Verdict::Transient | Verdict::Permanent | Verdict::NeverRepeat => Next::GiveUp,
    }
}

/// Delay before attempt `attempt + 1` without jitter: 250 ms, 500 ms, 1 s … capped at `longest`.
#[must_use]
pub fn backoff(attempt: u32, longest: Duration) -> Duration {
    BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(longest)
}

/// Delay before a gateway is asked again whether our device was approved, after so long a wait.
#[must_use]
pub fn pairing_poll(waited: Duration) -> Duration {
    if waited < PAIRING_FIRST { PAIRING_POLL_FIRST } else { PAIRING_POLL_LATER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        let millis: Vec<u128> =
            (1..=7).map(|attempt| backoff(attempt, BACKOFF_LONGEST).as_millis()).collect();
        assert_eq!(millis, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(backoff(u32::MAX, BACKOFF_LONGEST), BACKOFF_LONGEST);
    }

    #[test]
    fn an_approval_is_asked_for_less_often_after_a_minute() {
        let seconds = |waited| pairing_poll(Duration::from_secs(waited)).as_secs();
        assert_eq!([0, 59, 60, 900].map(seconds), [5, 5, 15, 15]);
    }

    fn round(attempt: u32) -> Round {
        Round { attempt, elapsed: TimeDelta::zero(), jitter: 1.0, asked: None }
    }

    #[test]
    fn a_waiting_client_is_told_after_one_attempt() {
        for cause in
            [Cause::ConnectionRefused, Cause::TimedOut, Cause::PairingRequired, Cause::CredentialRejected]
        {
            assert_eq!(next(cause, Patience::Waiting, round(1)), Next::GiveUp);
        }
    }

    #[test]
    fn in_the_background_only_what_may_pass_is_repeated() {
        let next = |cause, attempt| next(cause, Patience::Background, round(attempt));
        assert_eq!(next(Cause::ConnectionRefused, 1), Next::Retry(Duration::from_millis(250)));
        assert_eq!(next(Cause::ConnectionRefused, 4), Next::Retry(Duration::from_secs(2)));
        assert_eq!(next(Cause::ConnectionRefused, 5), Next::GiveUp);
        assert_eq!(next(Cause::CredentialRejected, 1), Next::GiveUp);
        assert_eq!(next(Cause::LockedOut, 1), Next::GiveUp);
        assert_eq!(next(Cause::VersionTooLow, 1), Next::GiveUp);
        assert_eq!(next(Cause::PairingRequired, 9), Next::AwaitApproval);
    }

    #[test]
    fn a_wait_that_the_gateway_asked_for_is_kept_while_the_patience_lasts() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        let next = |round| next(Cause::Unavailable, Patience::Background, round);
        assert_eq!(next(Round { asked: asked(60), ..round(1) }), Next::Retry(Duration::from_mins(1)));
        assert_eq!(next(Round { asked: asked(300), ..round(1) }), Next::GiveUp);
        let late = Round { elapsed: TimeDelta::seconds(250), ..round(2) };
        assert_eq!(next(Round { asked: asked(60), ..late }), Next::GiveUp);
        assert_eq!(next(late), Next::Retry(Duration::from_millis(500)));
        assert_eq!(next(Round { elapsed: TimeDelta::hours(1), ..late }), Next::GiveUp);
    }
}
