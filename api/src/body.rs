//! The body of a request: content type, size, time, and one JSON object whose faults are all found in one pass.

use std::{fmt, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::header,
};
use mediatype::MediaType;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use shared::problem::FieldError;

use crate::problem::{Failure, codes};

/// Largest body, in bytes (DESIGN.md §6).
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Reads a JSON body: 415 for another content type, 413 for more than [`BODY_BYTES_MAX`], 408 if it takes too long.
///
/// # Errors
///
/// The answer for the first of these that holds.
pub async fn read(request: Request, types: &[&str], limit: Duration) -> Result<Bytes, Failure> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence =
        given.and_then(|text| MediaType::parse(text).ok()).map(|parsed| parsed.essence().to_string());
    if !essence.is_some_and(|essence| types.iter().any(|known| essence.eq_ignore_ascii_case(known))) {
        let detail = format!("Send the body with `Content-Type: {}`.", types.join("` or `"));
        return Err(Failure::new(&codes::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let told = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| usize::try_from(told).is_ok_and(|told| told > BODY_BYTES_MAX)) {
        return Err(too_large());
    }
    tokio::time::timeout(limit, collect(request.into_body())).await.unwrap_or_else(|_| {
        let detail = format!("The body did not arrive within {} s.", limit.as_secs());
        Err(Failure::new(&codes::REQUEST_TIMEOUT, detail).with(header::CONNECTION, "close"))
    })
}

async fn collect(body: Body) -> Result<Bytes, Failure> {
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        use std::error::Error as _;
        let is_limit =
            error.source().is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if is_limit { too_large() } else { invalid_json("The body broke off.".to_owned()) }
    })
}

fn too_large() -> Failure {
    Failure::new(&codes::BODY_TOO_LARGE, format!("The body is larger than {BODY_BYTES_MAX} bytes."))
}

fn invalid_json(detail: String) -> Failure {
    Failure::of_faults(vec![fault("", &codes::INVALID_JSON, detail)])
}

/// A fault of the field at this JSON Pointer.
#[must_use]
pub fn fault(pointer: &str, code: &'static codes::Entry, detail: impl Into<String>) -> FieldError {
    FieldError { pointer: pointer.to_owned(), code: code.code.to_owned(), detail: detail.into() }
}

/// The members of a JSON object in their order, repeated ones included.
#[derive(Debug)]
pub struct Object(Vec<(String, Value)>);

impl Object {
    /// Parses one JSON object.
    ///
    /// # Errors
    ///
    /// `invalid_json` if it is not JSON or no object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        // The parser's message can quote what was sent, which may be a token: only the place is told.
        serde_json::from_slice(bytes).map_err(|error| {
            invalid_json(if error.is_data() {
                "The body must be one JSON object.".to_owned()
            } else {
                format!("The body is not valid JSON (line {}, column {}).", error.line(), error.column())
            })
        })
    }

    /// The value of a member: the first, where it is repeated.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// `duplicate_field` for each of these members that is repeated.
    #[must_use]
    pub fn duplicate(&self, name: &str) -> Option<FieldError> {
        let times = self.0.iter().filter(|(known, _)| known == name).count();
        (times > 1).then(|| {
            fault(&pointer(name), &codes::DUPLICATE_FIELD, format!("`{name}` is given {times} times."))
        })
    }

    /// `unknown_field` for each member that is none of these, in the order of the body.
    #[must_use]
    pub fn unknown(&self, known: &[&str]) -> Vec<FieldError> {
        let mut seen: Vec<&str> = vec![];
        for (name, _) in &self.0 {
            if !known.contains(&name.as_str()) && !seen.contains(&name.as_str()) {
                seen.push(name);
            }
        }
        let detail = |name: &str| {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
            format!("`{shown}` is not a field of this endpoint; known are: {}.", known.join(", "))
        };
        seen.into_iter().map(|name| fault(&pointer(name), &codes::UNKNOWN_FIELD, detail(name))).collect()
    }
}

/// The JSON Pointer (RFC 6901) of a member.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = vec![];
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_and_unknown_members_are_all_told() {
        let object = Object::parse(br#"{"a":1,"x/~":2,"a":3,"y":4,"y":5}"#).unwrap();
        assert_eq!(object.get("a"), Some(&Value::from(1)));
        assert_eq!(object.duplicate("a").unwrap().pointer, "/a");
        assert!(object.duplicate("b").is_none());
        let pointers: Vec<String> = object.unknown(&["a"]).into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/x~1~0", "/y"]);
    }

    #[test]
    fn what_is_no_object_is_refused_without_quoting_it() {
        for body in [&b""[..], b"[]", b"\"s3cret\"", b"{", b"{\"a\":s3cret}", b"\xff", b"{} {}", b"null"] {
            let failure = Object::parse(body).unwrap_err();
            assert_eq!(failure.problem().code, "invalid_json");
            assert!(!failure.problem().detail.contains("s3cret"));
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Object::parse(&bytes);
        }
    }
}
