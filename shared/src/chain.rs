//! Errors for people: what failed, then each cause.

use std::{error::Error, fmt::Write as _};

/// The error and its causes, joined by `: `, for a log line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
