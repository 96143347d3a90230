//! The `Prefer` header (RFC 7240): how long a client waits. What is unknown or malformed is ignored.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The longest wait that is granted.
pub const WAIT_MAX: Duration = Duration::from_mins(1);

/// `prefer`.
pub static PREFER: HeaderName = HeaderName::from_static("prefer");
/// `preference-applied`.
pub static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What the client prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefer {
    /// `respond-async`.
    pub respond_async: bool,
    /// `wait`, capped at [`WAIT_MAX`].
    pub wait: Option<Duration>,
}

impl Prefer {
    /// Reads every `Prefer` header; of a repeated preference the first counts.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        for value in headers.get_all(&PREFER) {
            let Ok(text) = value.to_str() else { continue };
            for preference in split(text, ',') {
                // Parameters after a semicolon are none that we know.
                let Some(main) = split(preference, ';').into_iter().next() else { continue };
                prefer.take(main);
            }
        }
        prefer
    }

    fn take(&mut self, preference: &str) {
        let (name, value) =
            preference.split_once('=').map_or((preference, ""), |(name, value)| (name, value));
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        match name.trim().to_ascii_lowercase().as_str() {
            "respond-async" if value.is_empty() => self.respond_async = true,
            "wait"
                if self.wait.is_none()
                    && value.bytes().all(|byte| byte.is_ascii_digit())
                    && !value.is_empty() =>
            {
                // More digits than fit are more than the cap.
                let seconds = value.parse().unwrap_or(u64::MAX);
                self.wait = Some(Duration::from_secs(seconds).min(WAIT_MAX));
            }
            _ => {}
        }
    }

    /// How long to wait where `default` holds without a preference.
    #[must_use]
    pub fn patience(self, default: Duration) -> Duration {
        match (self.respond_async, self.wait) {
            (_, Some(wait)) => wait,
            (true, None) => Duration::ZERO,
            (false, None) => default,
        }
    }

    /// `Preference-Applied`, where something was asked for and is done.
    #[must_use]
    pub fn applied(self) -> Option<HeaderValue> {
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let parts: Vec<String> =
            self.respond_async.then(|| "respond-async".to_owned()).into_iter().chain(wait).collect();
        (!parts.is_empty()).then(|| HeaderValue::from_str(&parts.join(", ")).ok()).flatten()
    }
}

/// Splits at a separator that stands outside of quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let parts = text.split(|c: char| {
        let is_separator = c == separator && !is_quoted;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && is_quoted && !is_escaped;
        is_separator
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&PREFER, HeaderValue::from_str(value).unwrap());
        }
        Prefer::of(&headers)
    }

    #[test]
    fn preferences_are_read_in_every_form_of_the_standard() {
        let both = Prefer { respond_async: true, wait: Some(Duration::from_secs(10)) };
        assert_eq!(of(&["respond-async, wait=10"]), both);
        assert_eq!(of(&["Respond-Async", "WAIT = \"10\""]), both);
        assert_eq!(of(&["foo; a=\"x, wait=3\", respond-async;p=1, wait=10;q, wait=20"]), both);
        assert_eq!(of(&["wait=100000000000000000000000"]).wait, Some(WAIT_MAX));
        assert_eq!(of(&["wait=61"]).applied().unwrap(), "wait=60");
        assert_eq!(of(&["wait=5, respond-async"]).applied().unwrap(), "respond-async, wait=5");
        assert_eq!(of(&["handling=strict"]).applied(), None);
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for value in
            ["wait", "wait=", "wait=-1", "wait=1.5", "wait=x", "respond-async=1", ",,;", "\"respond-async\""]
        {
            assert_eq!(of(&[value]), Prefer::default(), "{value}");
        }
    }

    #[test]
    fn both_together_wait_first() {
        let default = Duration::from_secs(30);
        assert_eq!(of(&[]).patience(default), default);
        assert_eq!(of(&["respond-async"]).patience(default), Duration::ZERO);
        assert_eq!(of(&["respond-async, wait=2"]).patience(default), Duration::from_secs(2));
        assert_eq!(of(&["wait=0"]).patience(default), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[ -~]{0,60}") {
            let _ = of(&[text.as_str()]);
        }
    }
}
