//! Old shapes of events: each is brought, step by step, to the shape that this program knows.
//!
//! What is stored is never changed. A change of an event's shape is a new version: a step here from the old one, a
//! sample of the new one in `tests/samples/events`, and the old sample stays.

use std::borrow::Cow;

use serde_json::Value;

/// Brings the data of one event from one version to the next.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The stored name.
    pub event_type: &'static str,
    /// The version that it takes; it gives the next one.
    pub from: u32,
    /// Data of that version to data of the next.
    pub up: fn(Value) -> Value,
}

/// Every step; of one event in the order of the versions.
pub const STEPS: &[Step] = &[];

/// The version that is written of an event: one more than there are steps.
#[must_use]
pub fn current_version(steps: &[Step], event_type: &str) -> u32 {
    let known = steps.iter().filter(|step| step.event_type == event_type);
    known.map(|step| step.from + 1).max().unwrap_or(1)
}

/// Data in the shape that this program knows; as it is where no step is needed, or where it is not JSON.
#[must_use]
pub fn upcast<'a>(steps: &[Step], event_type: &str, version: u32, data: &'a str) -> Cow<'a, str> {
    let needed = steps.iter().filter(|step| step.event_type == event_type && step.from >= version);
    let mut needed = needed.peekable();
    if needed.peek().is_none() {
        return Cow::Borrowed(data);
    }
    let Ok(value) = serde_json::from_str(data) else { return Cow::Borrowed(data) };
    Cow::Owned(needed.fold(value, |value, step| (step.up)(value)).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STEPS: &[Step] = &[
        Step { event_type: "Renamed", from: 1, up: |value| json!({"title": value["name"]}) },
        Step { event_type: "Other", from: 1, up: |_| json!(null) },
        Step { event_type: "Renamed", from: 2, up: |value| json!({"title": value["title"], "by": "nobody"}) },
    ];

    #[test]
    fn data_goes_through_the_steps_that_it_has_not_been_through() {
        let from = |version, data| upcast(STEPS, "Renamed", version, data).into_owned();
        assert_eq!(from(1, r#"{"name":"a"}"#), r#"{"title":"a","by":"nobody"}"#);
        assert_eq!(from(2, r#"{"title":"a"}"#), r#"{"title":"a","by":"nobody"}"#);
        assert_eq!(from(3, r#"{ "title": "a" }"#), r#"{ "title": "a" }"#);
        assert_eq!(upcast(STEPS, "Unchanged", 1, "{ }"), "{ }");
        assert_eq!(from(1, "no JSON"), "no JSON");
    }

    #[test]
    fn the_version_that_is_written_follows_from_the_steps() {
        let versions = ["Renamed", "Other", "Unchanged"].map(|name| current_version(STEPS, name));
        assert_eq!(versions, [3, 2, 1]);
    }
}
