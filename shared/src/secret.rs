//! Values that must never reach a log, an event, a URL, an error or a `Debug`.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A credential in clear. `Debug` prints `[secret]`, there is no `Display` and no `Serialize`, and the memory is
/// zeroed on drop.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a credential.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(SecretString::from(value))
    }

    /// The credential itself. Each caller is a place where it could leak: hash it, seal it or send it, nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Replaces every occurrence of this secret in `text` with `[secret]`.
    ///
    /// Secrets shorter than 4 bytes are left alone: masking them would only shred the text.
    #[must_use]
    pub fn mask_in(&self, text: &str) -> String {
        if self.expose().len() < 4 { text.to_owned() } else { text.replace(self.expose(), "[secret]") }
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Length to which text from a gateway is cut, in characters (DESIGN.md §3).
pub const FOREIGN_TEXT_CHARS_MAX: usize = 500;

/// Makes text from a gateway fit for an event, a log line or an error.
///
/// Every secret we sent is masked, control characters become a space (a NUL breaks `PostgreSQL`), and the rest is cut to
/// [`FOREIGN_TEXT_CHARS_MAX`] characters.
#[must_use]
pub fn sanitize<'a>(text: &str, sent: impl IntoIterator<Item = &'a Secret>) -> String {
    // Control characters go first, or a secret broken up by them would survive the masking; the cut comes last, or
    // half a secret would.
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let masked = sent.into_iter().fold(plain, |text, secret| secret.mask_in(&text));
    masked.chars().take(FOREIGN_TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_secret() {
        assert_eq!(format!("{:?}", Secret::from("hunter22")), "[secret]");
    }

    #[test]
    fn foreign_text_is_masked_cleaned_and_cut() {
        let secret = Secret::from("tok-123");
        let text = format!("bad token tok-123\0 {}", "x".repeat(600));
        let clean = sanitize(&text, [&secret]);
        assert!(clean.starts_with("bad token [secret]  xxx"), "{clean}");
        assert_eq!(clean.chars().count(), FOREIGN_TEXT_CHARS_MAX);
    }

    #[test]
    fn a_secret_at_the_cut_is_masked_before_the_text_is_cut() {
        let secret = Secret::from("SECRETSECRET");
        let clean = sanitize(&format!("{}SECRETSECRET", "x".repeat(495)), [&secret]);
        assert!(!clean.contains("SECR"), "{clean}");
    }
}
