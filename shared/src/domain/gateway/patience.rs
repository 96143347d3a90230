//! How long a registration may try (DESIGN.md §6).

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// One attempt and its clean-up.
pub const ATTEMPT_LONGEST: TimeDelta = TimeDelta::seconds(62);
/// All attempts in the background together, with the pauses between them.
pub const BACKGROUND_LONGEST: TimeDelta = TimeDelta::minutes(5);

/// Recorded with the request, so that every worker judges alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Patience {
    /// Somebody waits for the answer: one attempt, no dial but the clean-up's later than 12 s after the first.
    Waiting,
    /// Nobody waits: 5 attempts with backoff, 5 min in all.
    Background,
}
