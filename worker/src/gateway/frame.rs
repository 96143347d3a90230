//! Frames of the gateway protocol: requests out, answers and events in. Never panics, whatever comes.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

/// A frame from a gateway.
#[derive(Debug)]
pub enum Incoming {
    /// The answer to the request with this id.
    Answer {
        /// The id we sent.
        id: String,
        /// The payload, or why the gateway refused.
        result: Result<Value, ErrorBody>,
    },
    /// Something that happened on the gateway.
    Event {
        /// For example `connect.challenge` or `shutdown`.
        name: String,
        /// Its payload, `Null` where there was none.
        payload: Value,
    },
    /// JSON of another shape; gateways may grow new frame types.
    Unknown,
}

/// Why a gateway refused a request. Its texts are foreign: sanitize them before they go anywhere.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorBody {
    /// The coarse class, for example `INVALID_REQUEST`; never decisive alone.
    #[serde(deserialize_with = "text_or_empty")]
    pub code: String,
    /// The message for people.
    #[serde(deserialize_with = "text_or_empty")]
    pub message: String,
    /// Details; their `code` is the fine class, absent up to 2026.2.9.
    pub details: Box<Value>,
    /// Whether the gateway says that a repeat can help; only a JSON `true` counts.
    #[serde(deserialize_with = "is_true")]
    pub retryable: bool,
    /// How long it asks to wait.
    #[serde(deserialize_with = "millis")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// `details.code`, empty where there is none.
    #[must_use]
    pub fn fine_code(&self) -> &str {
        self.details.get("code").and_then(Value::as_str).unwrap_or_default()
    }

    /// The wait it asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }

    /// Whether it says: not now, but soon.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.code == "UNAVAILABLE" && self.retryable
    }
}

/// A hostile or sloppy type in one field must not turn a refusal into something unreadable.
fn text_or_empty<'de, D: serde::Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(value)? {
        Value::String(text) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => String::new(),
    })
}

fn is_true<'de, D: serde::Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Ok(Value::deserialize(value)? == Value::Bool(true))
}

fn millis<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    Ok(Value::deserialize(value)?.as_u64())
}

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON")]
pub struct NotJson;

/// Reads one frame. Depth is bounded by `serde_json` (128), size by the socket.
///
/// # Errors
/// [`NotJson`].
pub fn parse(text: &str) -> Result<Incoming, NotJson> {
    let Value::Object(mut frame) = serde_json::from_str::<Value>(text).map_err(|_| NotJson)? else {
        return Ok(Incoming::Unknown);
    };
    let mut take = |name: &str| frame.remove(name).unwrap_or(Value::Null);
    Ok(match (take("type").as_str(), take("id"), take("event")) {
        (Some("res"), Value::String(id), _) => {
            let result = if take("ok") == Value::Bool(true) {
                Ok(take("payload"))
            } else {
                Err(serde_json::from_value(take("error")).unwrap_or_default())
            };
            Incoming::Answer { id, result }
        }
        (Some("event"), _, Value::String(name)) => Incoming::Event { name, payload: take("payload") },
        _ => Incoming::Unknown,
    })
}

/// One request, ready to be sent.
#[must_use]
pub fn request(id: &str, method: &str, params: &Value) -> String {
    json!({"type": "req", "id": id, "method": method, "params": params}).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_events_and_strangers_are_told_apart() {
        let answer = parse(r#"{"type":"res","id":"1","ok":true,"payload":{"a":1}}"#).unwrap();
        assert!(matches!(answer, Incoming::Answer { id, result: Ok(_) } if id == "1"));
        let refusal = parse(
            r#"{"type":"res","id":"1","ok":false,"error":{"code":"UNAVAILABLE","message":3,"retryable":true,
               "retryAfterMs":500,"details":{"code":"X"},"new":1}}"#,
        );
        let Ok(Incoming::Answer { result: Err(error), .. }) = refusal else { panic!() };
        assert_eq!((error.fine_code(), error.message.as_str(), error.is_unavailable()), ("X", "", true));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(500)));
        let event = parse(r#"{"type":"event","event":"tick"}"#).unwrap();
        assert!(matches!(event, Incoming::Event { name, payload: Value::Null } if name == "tick"));
        for strange in ["[]", "1", "{}", r#"{"type":"res","id":1}"#, r#"{"type":"event"}"#] {
            assert!(matches!(parse(strange), Ok(Incoming::Unknown)), "{strange}");
        }
        assert!(matches!(parse("<html>"), Err(NotJson)));
        assert!(matches!(parse(&"[".repeat(100_000)), Err(NotJson)));
        let bare = parse(r#"{"type":"res","id":"1"}"#).unwrap();
        assert!(matches!(bare, Incoming::Answer { result: Err(_), .. }));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in r#"(\{"type":"(res|event)","(id|event|ok|error)":)?.{0,200}"#) {
            let _ = parse(&text);
        }
    }
}
