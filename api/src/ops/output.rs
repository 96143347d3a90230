//! How results are printed: a line for people, or one JSON object a line.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::print;

/// Prints results one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    is_json: bool,
}

impl Output {
    /// JSON if it was asked for.
    #[must_use]
    pub fn of(is_json: bool) -> Self {
        Self { is_json }
    }

    /// One result.
    ///
    /// # Errors
    ///
    /// The system's error, for example a closed pipe.
    pub fn row(self, json: &Value, text: &str) -> std::io::Result<()> {
        if self.is_json { print(&json.to_string()) } else { print(text) }
    }
}

/// How often progress is shown to a person, and otherwise.
const SHOWN_EVERY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

/// Tells on stderr how far a long run is: rate, and the time that is left.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    first: u64,
    total: u64,
    started: Instant,
    shown: Instant,
    is_terminal: bool,
}

impl Progress {
    /// Of a run from one position to another.
    #[must_use]
    pub fn new(what: &'static str, first: u64, total: u64) -> Self {
        let now = Instant::now();
        Self { what, first, total, started: now, shown: now, is_terminal: std::io::stderr().is_terminal() }
    }

    /// This position is reached.
    pub fn reach(&mut self, position: u64) {
        let every = SHOWN_EVERY.get(usize::from(!self.is_terminal)).copied().unwrap_or_default();
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let done = position.saturating_sub(self.first);
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = (done.saturating_mul(1_000) / millis).max(1);
        let left = self.total.saturating_sub(position) / rate;
        let text = format!("{} {position} of {} events, {rate}/s, {left} s left", self.what, self.total);
        let (start, end) = if self.is_terminal { ("\r\u{1b}[K", "") } else { ("", "\n") };
        // Who cannot be told is not told.
        let _ = write!(std::io::stderr(), "{start}{text}{end}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
