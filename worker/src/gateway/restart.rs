//! Whether an announced restart of the gateway is over (DESIGN.md §6). Pure: instants come from the caller.

use std::time::{Duration, Instant};

use serde_json::Value;

/// Where a gateway tells no delay.
const DELAY_DEFAULT: Duration = Duration::from_secs(2);
/// How long after the announced instant a restart that was not seen is waited for.
const GRACE: Duration = Duration::from_millis(1_500);

#[derive(Debug)]
struct Announced {
    /// A drop from here on is the announced one.
    due: Instant,
    /// If nothing was seen until here, it does not come.
    until: Instant,
    dropped: bool,
}

/// The announced restarts of one gateway that are not over.
#[derive(Debug, Default)]
pub struct Restarts(Vec<Announced>);

impl Restarts {
    /// Looks for an announcement in an answer: `restart.delayMs` or `sentinel.payload.stats.requiresRestart: true`.
    pub fn answer(&mut self, payload: &Value, now: Instant) {
        let restart = payload.get("restart").filter(|restart| restart.is_object());
        let delay = restart.and_then(|restart| restart.get("delayMs")).and_then(Value::as_u64);
        let is_required =
            payload.pointer("/sentinel/payload/stats/requiresRestart") == Some(&Value::Bool(true));
        if delay.is_some() || is_required {
            // A day is no delay but a mistake; the attempt's own deadline bounds the rest.
            let delay = delay.map_or(DELAY_DEFAULT, |ms| Duration::from_millis(ms.min(60_000)));
            self.0.push(Announced { due: now + delay, until: now + delay + GRACE, dropped: false });
        }
    }

    /// The event `shutdown`: the drop follows at any moment.
    pub fn shutdown(&mut self, now: Instant) {
        self.0.push(Announced { due: now, until: now + DELAY_DEFAULT + GRACE, dropped: false });
    }

    /// The connection was lost.
    pub fn dropped(&mut self, now: Instant) {
        self.0.iter_mut().filter(|restart| now >= restart.due).for_each(|restart| restart.dropped = true);
    }

    /// A call was answered: what was dropped before is over, and so is what did not come in its time.
    pub fn answered(&mut self, now: Instant) {
        self.0.retain(|restart| !restart.dropped && now < restart.until);
    }

    /// Until when to wait for what was announced; `None` if nothing is open.
    #[must_use]
    pub fn open_until(&self) -> Option<Instant> {
        self.0.iter().map(|restart| restart.until).max()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_drop_before_its_time_is_not_the_announced_one() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        restarts.answer(&json!({"restart": {"delayMs": 2000}}), start);
        restarts.shutdown(at(600));
        restarts.dropped(at(610));
        restarts.answered(at(700));
        assert_eq!(restarts.open_until(), Some(at(3500)));
        restarts.dropped(at(2050));
        assert_eq!(restarts.open_until(), Some(at(3500)));
        restarts.answered(at(2100));
        assert_eq!(restarts.open_until(), None);
    }

    #[test]
    fn a_restart_that_does_not_come_is_waited_for_and_forgotten() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        restarts.answer(&json!({"sentinel": {"payload": {"stats": {"requiresRestart": true}}}}), start);
        assert_eq!(restarts.open_until(), Some(start + Duration::from_millis(3_500)));
        restarts.answered(start + Duration::from_millis(3_500));
        assert_eq!(restarts.open_until(), None);
        restarts.answer(&json!({"sentinel": {"payload": {"stats": {"requiresRestart": false}}}}), start);
        restarts.answer(&json!({"restart": null}), start);
        assert_eq!(restarts.open_until(), None);
    }
}
