//! The fields of a gateway, each parsed once into what cannot be wrong (API.md §1).

use serde_json::Value;
use shared::{
    domain::gateway::url::{GatewayUrl, InvalidUrl},
    problem::FieldError,
    secret::Secret,
};

use crate::{
    body::{Object, fault},
    problem::codes,
};

/// The names, in the order of the documentation, which is the order in which faults are told.
pub const NAMES: [&str; 6] =
    ["name", "url", "workspace_root", "token", "allow_insecure_tls", "disable_device_pairing"];

const NAME_CHARS_MAX: usize = 200;
const TOKEN_BYTES_MAX: usize = 4_096;
/// The longest path of Linux.
const PATH_BYTES_MAX: usize = 4_096;

/// Reads fields and keeps the faults of all of them.
#[derive(Debug)]
pub struct Reader<'a> {
    object: &'a Object,
    faults: Vec<FieldError>,
}

impl<'a> Reader<'a> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(object: &'a Object) -> Self {
        Self { object, faults: vec![] }
    }

    /// A text field that must be there and not null.
    pub fn required<T>(&mut self, name: &'static str, parse: fn(&str) -> Result<T, FieldError>) -> Option<T> {
        self.faults.extend(self.object.duplicate(name));
        match self.object.get(name) {
            None | Some(Value::Null) => {
                let detail = format!("`{name}` is required.");
                self.faults.push(fault(&format!("/{name}"), &codes::MISSING_FIELD, detail));
                None
            }
            Some(Value::String(text)) => self.keep(parse(text)),
            Some(value) => self.keep(Err(wrong_type(name, "a string", value))),
        }
    }

    /// A text field that keeps its value where it is absent; it may not be null.
    pub fn kept<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, FieldError>,
    ) -> Option<Option<T>> {
        if self.object.get(name).is_none() { Some(None) } else { self.required(name, parse).map(Some) }
    }

    /// A switch that keeps its value where it is absent.
    pub fn kept_switch(&mut self, name: &'static str) -> Option<Option<bool>> {
        if self.object.get(name).is_none() { Some(None) } else { self.switch(name).map(Some) }
    }

    /// Whether a field is there, and null.
    #[must_use]
    pub fn is_null(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(Value::is_null)
    }

    /// A text field that may be absent or null; `Some(None)` then.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<Option<T>, FieldError>,
    ) -> Option<Option<T>> {
        self.faults.extend(self.object.duplicate(name));
        match self.object.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) => self.keep(parse(text)),
            Some(value) => self.keep(Err(wrong_type(name, "a string or null", value))),
        }
    }

    /// A switch that is off where it is absent.
    pub fn switch(&mut self, name: &'static str) -> Option<bool> {
        self.faults.extend(self.object.duplicate(name));
        match self.object.get(name) {
            None => Some(false),
            Some(Value::Bool(value)) => Some(*value),
            Some(value) => self.keep(Err(wrong_type(name, "true or false", value))),
        }
    }

    /// Every fault, those of unknown fields last.
    #[must_use]
    pub fn into_faults(mut self) -> Vec<FieldError> {
        self.faults.extend(self.object.unknown(&NAMES));
        self.faults
    }

    fn keep<T>(&mut self, parsed: Result<T, FieldError>) -> Option<T> {
        parsed.map_err(|fault| self.faults.push(fault)).ok()
    }
}

fn wrong_type(name: &str, wanted: &str, value: &Value) -> FieldError {
    let given = match value {
        Value::Null => "null",
        Value::Bool(_) => "a switch",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    fault(&format!("/{name}"), &codes::INVALID_TYPE, format!("`{name}` must be {wanted}, not {given}."))
}

/// 1 to 200 characters after trimming, none of them a control character.
///
/// # Errors
///
/// `invalid_name`.
pub fn name(text: &str) -> Result<String, FieldError> {
    let trimmed = text.trim();
    let is_valid =
        (1..=NAME_CHARS_MAX).contains(&trimmed.chars().count()) && !trimmed.chars().any(char::is_control);
    if is_valid {
        return Ok(trimmed.to_owned());
    }
    let detail = format!("`name` must have 1 to {NAME_CHARS_MAX} characters and no control characters.");
    Err(fault("/name", &codes::INVALID_NAME, detail))
}

/// The URL of a gateway.
///
/// # Errors
///
/// `invalid_url`, which repeats nothing of the text.
pub fn url(text: &str) -> Result<GatewayUrl, FieldError> {
    text.parse().map_err(|error: InvalidUrl| fault("/url", &codes::INVALID_URL, format!("`url` {error}.")))
}

/// An absolute path on the gateway's host, without trailing slashes.
///
/// # Errors
///
/// `invalid_workspace_root`.
pub fn workspace_root(text: &str) -> Result<String, FieldError> {
    let mut start = text.chars();
    let is_absolute = match (start.next(), start.next(), start.next()) {
        (Some('/'), ..) | (Some('~'), Some('/'), _) => true,
        (Some(drive), Some(':'), Some('\\' | '/')) => drive.is_ascii_alphabetic(),
        _ => false,
    };
    let problem = if text.trim().is_empty() {
        "must not be empty"
    } else if !is_absolute {
        "must be an absolute path on the gateway's host, for example /home/ubuntu/.openclaw/workspaces"
    } else if text.chars().any(char::is_control) {
        "must not contain control characters"
    } else if text.split(['/', '\\']).any(|segment| segment == "..") {
        "must not contain a `..` segment"
    } else if text.len() > PATH_BYTES_MAX {
        "must be at most 4,096 bytes long"
    } else {
        let trimmed = text.trim_end_matches('/');
        return Ok(if trimmed.is_empty() { "/" } else { trimmed }.to_owned());
    };
    Err(fault("/workspace_root", &codes::INVALID_WORKSPACE_ROOT, format!("`workspace_root` {problem}.")))
}

/// The gateway's token; blank counts as absent.
///
/// # Errors
///
/// `invalid_token`, which repeats nothing of the text.
pub fn token(text: &str) -> Result<Option<Secret>, FieldError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    if text.len() <= TOKEN_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(Some(Secret::from(text)));
    }
    let detail =
        format!("`token` must be at most {TOKEN_BYTES_MAX} bytes long and have no control characters.");
    Err(fault("/token", &codes::INVALID_TOKEN, detail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_trimmed_and_bounded() {
        assert_eq!(name("  Production Gateway\t").unwrap(), "Production Gateway");
        assert_eq!(name(&"é".repeat(200)).unwrap().chars().count(), 200);
        for bad in ["", " ", "a\nb", "a\u{0}", "\u{85}x", &"x".repeat(201)] {
            assert_eq!(name(bad).is_err(), bad != "\u{85}x", "{bad:?}");
        }
    }

    #[test]
    fn a_workspace_root_is_absolute_and_loses_its_trailing_slashes() {
        for (given, kept) in [
            ("/home/u/ws", "/home/u/ws"),
            ("/home/u/ws///", "/home/u/ws"),
            ("/", "/"),
            ("~/ws/", "~/ws"),
            ("C:\\ws", "C:\\ws"),
            ("/a..b/..c", "/a..b/..c"),
        ] {
            assert_eq!(workspace_root(given).unwrap(), kept);
        }
        let long = format!("/{}", "x".repeat(5_000));
        for bad in [
            "",
            "  ",
            "ws",
            "./ws",
            "~",
            "~u/ws",
            " /ws",
            "C:",
            "C:ws",
            "1:\\ws",
            "/a/../b",
            "/..",
            "C:\\a\\..",
            "/a\0",
            "/a\nb",
            &long,
        ] {
            assert!(workspace_root(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_blank_token_is_none() {
        assert!(token(" ").unwrap().is_none());
        assert_eq!(token("s3cret").unwrap().unwrap().expose(), "s3cret");
        for bad in ["s3cret\n", &"x".repeat(4_097)] {
            assert!(!token(bad).unwrap_err().detail.contains("s3cret"));
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,80}") {
            let _ = (name(&text), url(&text), workspace_root(&text), token(&text));
        }
    }
}
