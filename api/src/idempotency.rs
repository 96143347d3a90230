//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header-07).

use axum::http::{HeaderMap, HeaderName};

use crate::problem::{Failure, codes};

/// `idempotency-key`.
pub static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const KEY_BYTES_MAX: usize = 255;

/// Reads the key; `"k"` and a bare `k` are the same one.
///
/// # Errors
///
/// `invalid_idempotency_key` if it is empty, too long, given twice or not readable.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let invalid = || {
        let detail = format!("Send one Idempotency-Key of 1 to {KEY_BYTES_MAX} visible ASCII characters.");
        let fault = crate::body::fault("Idempotency-Key", &codes::INVALID_IDEMPOTENCY_KEY, detail);
        Failure::of_faults(vec![fault])
    };
    if values.next().is_some() {
        return Err(invalid());
    }
    let text = value.to_str().map_err(|_| invalid())?.trim();
    let key = if text.starts_with('"') {
        let item: sfv::Item = sfv::Parser::new(text).parse().map_err(|_| invalid())?;
        item.bare_item.as_string().map(|key| key.as_str().to_owned()).ok_or_else(invalid)?
    } else {
        text.to_owned()
    };
    let is_plain = text.starts_with('"') || key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if is_plain && (1..=KEY_BYTES_MAX).contains(&key.len()) { Ok(Some(key)) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, Failure> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        key(&headers)
    }

    #[test]
    fn bare_and_quoted_are_the_same_key() {
        for (value, key) in [
            ("k", "k"),
            ("\"k\"", "k"),
            ("\"a \\\"b\\\\\"", "a \"b\\"),
            ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            ("\"k\";p=1", "k"),
        ] {
            assert_eq!(read(&[value]).unwrap().as_deref(), Some(key), "{value}");
        }
        assert_eq!(read(&[]).unwrap(), None);
        assert!(read(&[&"k".repeat(255)]).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for bad in [&[""][..], &["\"\""], &["\"k"], &["a\"b"], &["a b"], &["é"], &[&long], &["k", "k"]] {
            let failure = read(bad).unwrap_err();
            assert_eq!(failure.problem().code, "invalid_idempotency_key", "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[ -~]{0,60}") {
            let _ = read(&[text.as_str()]);
        }
    }
}
