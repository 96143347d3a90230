//! The address of a gateway, parsed once at the edge.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::{Host, Url};

/// Longest accepted URL, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// Query parameters that people put credentials into; a gateway ignores them there, and they leak into logs.
const CREDENTIAL_PARAMETERS: [&str; 5] = ["token", "auth", "key", "secret", "password"];

/// A `ws://` or `wss://` URL with a host, a port and no credentials. `Display` prints it as it was given.
#[derive(Clone, PartialEq, Eq)]
pub struct GatewayUrl {
    given: String,
    parsed: Url,
}

/// Why a text is not the URL of a gateway. `Display` tells a person what to write instead, and repeats nothing of
/// the text, which may hold a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Longer than [`URL_BYTES_MAX`].
    #[error("must be at most {URL_BYTES_MAX} bytes long")]
    TooLong,
    /// Not a URL, or without a host.
    #[error("must be a URL such as ws://gateway-host:18789 or wss://gateway.example.com")]
    Malformed,
    /// Another scheme.
    #[error("must start with ws:// or wss://")]
    Scheme,
    /// `user:password@`.
    #[error("must not contain a user name or password; put the credential in `token`")]
    UserInfo,
    /// `#…`.
    #[error("must not contain a fragment (#…)")]
    Fragment,
    /// Port 0.
    #[error("must have a port from 1 to 65535")]
    Port,
    /// `?token=…` and the like.
    #[error("must not carry a credential in its query; put it in `token`")]
    Credential,
}

impl GatewayUrl {
    /// Whether the connection is to be made with TLS (`wss://`).
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.parsed.scheme() == "wss"
    }

    /// The host: a domain or a literal address. Numeric spellings such as `0x7f.1` are already addresses here.
    #[must_use]
    pub fn host(&self) -> Host<&str> {
        self.parsed.host().unwrap_or(Host::Domain(""))
    }

    /// The host without brackets, as one types it after `nc -zv`.
    #[must_use]
    pub fn host_text(&self) -> String {
        match self.host() {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// The port, 80 or 443 where none was given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.parsed.port_or_known_default().unwrap_or(80)
    }

    /// What the HTTP `Host` header must say: the host, and the port if it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.parsed.host_str().unwrap_or_default();
        self.parsed.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Path and query as given, `/` where there was none.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        let path = self.parsed.path();
        self.parsed.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }

    /// What tells two gateways apart: scheme, host, port, path and query, normalised.
    #[must_use]
    pub fn key(&self) -> String {
        let host = self.parsed.host_str().unwrap_or_default();
        format!("{}://{host}:{}{}", self.parsed.scheme(), self.port(), self.path_and_query())
    }

    /// The URL as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.given
    }
}

impl FromStr for GatewayUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if text.len() > URL_BYTES_MAX {
            return Err(InvalidUrl::TooLong);
        }
        // The URL standard strips these silently; what was stored would then not be what is dialled.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(InvalidUrl::Malformed);
        }
        let parsed = Url::parse(text).map_err(|error| {
            if error == url::ParseError::RelativeUrlWithoutBase {
                InvalidUrl::Scheme
            } else if error == url::ParseError::InvalidPort {
                InvalidUrl::Port
            } else {
                InvalidUrl::Malformed
            }
        })?;
        if !matches!(parsed.scheme(), "ws" | "wss") {
            return Err(InvalidUrl::Scheme);
        }
        let after_scheme = text.split_once(':').map_or("", |(_, rest)| rest);
        let Some(rest) = after_scheme.strip_prefix("//") else { return Err(InvalidUrl::Malformed) };
        // `ws:////host` and `ws://\host` parse to a host too; nobody means them.
        if rest.starts_with(['/', '\\']) || parsed.host_str().is_none_or(str::is_empty) {
            return Err(InvalidUrl::Malformed);
        }
        if !parsed.username().is_empty() || parsed.password().is_some() || authority_of(rest).contains('@') {
            return Err(InvalidUrl::UserInfo);
        }
        if parsed.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        if parsed.port() == Some(0) {
            return Err(InvalidUrl::Port);
        }
        let is_credential =
            |name: &str| CREDENTIAL_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known));
        if parsed.query_pairs().any(|(name, _)| is_credential(&name)) {
            return Err(InvalidUrl::Credential);
        }
        Ok(Self { given: text.to_owned(), parsed })
    }
}

fn authority_of(rest: &str) -> &str {
    rest.split(['/', '?', '#', '\\']).next().unwrap_or_default()
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl fmt::Debug for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl Serialize for GatewayUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.given)
    }
}

impl<'de> Deserialize<'de> for GatewayUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<GatewayUrl, InvalidUrl> {
        text.parse()
    }

    #[test]
    fn a_url_is_kept_as_given() {
        let url = parse("ws://72.62.201.147:18789").unwrap();
        assert_eq!(url.as_str(), "ws://72.62.201.147:18789");
        assert_eq!((url.port(), url.is_tls()), (18789, false));
        assert_eq!(url.path_and_query(), "/");
        assert_eq!(parse("wss://gateway.example.com").unwrap().port(), 443);
        assert_eq!(parse("ws://[::1]:1/a?b=c").unwrap().authority(), "[::1]:1");
    }

    #[test]
    fn equal_gateways_have_equal_keys() {
        let key = |text: &str| parse(text).unwrap().key();
        assert_eq!(key("ws://HOST"), key("ws://host:80/"));
        assert_eq!(key("ws://127.0.0.1:9"), key("ws://0x7f.1:9"));
        assert_ne!(key("ws://host/a"), key("ws://host/b"));
        assert_ne!(key("ws://host"), key("wss://host"));
    }

    #[test]
    fn what_is_not_a_gateways_url_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", InvalidUrl::Scheme),
            ("gateway", InvalidUrl::Scheme),
            ("http://host", InvalidUrl::Scheme),
            ("ws:host", InvalidUrl::Malformed),
            ("ws:///", InvalidUrl::Malformed),
            ("ws:////host", InvalidUrl::Malformed),
            ("ws://ho st", InvalidUrl::Malformed),
            ("ws://host\n", InvalidUrl::Malformed),
            ("ws://user@host", InvalidUrl::UserInfo),
            ("ws://@host", InvalidUrl::UserInfo),
            ("ws://u:p@host", InvalidUrl::UserInfo),
            ("ws://host#f", InvalidUrl::Fragment),
            ("ws://host:0", InvalidUrl::Port),
            ("ws://host:65536", InvalidUrl::Port),
            ("ws://host?token=x", InvalidUrl::Credential),
            ("ws://host?a=1&To%6Ben=x", InvalidUrl::Credential),
            ("ws://host?PASSWORD", InvalidUrl::Credential),
        ] {
            assert_eq!(parse(text).unwrap_err(), reason, "{text:?}");
        }
        assert_eq!(parse(&format!("ws://h/{}", "x".repeat(URL_BYTES_MAX))).unwrap_err(), InvalidUrl::TooLong);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "(wss?:/{0,3})?.{0,60}") {
            if let Ok(url) = parse(&text) {
                prop_assert!(!url.host_text().is_empty());
                prop_assert!(url.port() > 0);
            }
        }
    }
}
