//! The error body of a gateway's answer.

use serde_json::{Map, Value, json};

/// What the `error` member of a `res` frame holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    /// Boxed, since every call may end in a refusal and few have details.
    pub(crate) details: Option<Box<Value>>,
    pub(crate) retryable: Option<bool>,
    pub(crate) retry_after_ms: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            details: None,
            retryable: None,
            retry_after_ms: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new("INVALID_REQUEST", message)
    }

    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    pub(crate) fn retryable(mut self, after_ms: Option<u64>) -> Self {
        self.retryable = Some(true);
        self.retry_after_ms = after_ms;
        self
    }

    pub(crate) fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("code".to_owned(), json!(self.code));
        body.insert("message".to_owned(), json!(self.message));
        if let Some(retryable) = self.retryable {
            body.insert("retryable".to_owned(), json!(retryable));
        }
        if let Some(after) = self.retry_after_ms {
            body.insert("retryAfterMs".to_owned(), json!(after));
        }
        if let Some(details) = &self.details {
            body.insert("details".to_owned(), Value::clone(details));
        }
        Value::Object(body)
    }
}
