//! `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10): lists of structured fields (RFC 9651).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{Integer, KeyRef, ListSerializer, StringRef};

use super::meter::{Standing, WINDOW};

static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Says how the caller stands, where anything is counted.
pub fn tell(headers: &mut HeaderMap, standings: &[Standing]) {
    let policy = |standing: &Standing| vec![("q", u64::from(standing.quota)), ("w", window())];
    let limit = |standing: &Standing| vec![("r", u64::from(standing.remaining)), ("t", whole_in(standing))];
    for (name, value) in
        [(&RATE_LIMIT_POLICY, list(standings, policy)), (&RATE_LIMIT, list(standings, limit))]
    {
        if let Some(value) = value {
            headers.insert(name.clone(), value);
        }
    }
}

fn list(
    standings: &[Standing],
    parameters: impl Fn(&Standing) -> Vec<(&'static str, u64)>,
) -> Option<HeaderValue> {
    let mut list = ListSerializer::new();
    for standing in standings {
        let mut item = list.bare_item(StringRef::from_str(standing.policy).ok()?);
        for (key, value) in parameters(standing) {
            item = item.parameter(KeyRef::from_str(key).ok()?, Integer::try_from(value).ok()?);
        }
    }
    HeaderValue::from_str(&list.finish()?).ok()
}

fn window() -> u64 {
    WINDOW.as_secs()
}

/// Seconds until the allowance is whole again if nothing more is spent of it.
fn whole_in(standing: &Standing) -> u64 {
    let spent = u64::from(standing.quota.saturating_sub(standing.remaining));
    (spent * window()).div_ceil(u64::from(standing.quota).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_allowance_is_an_item_of_a_list() {
        let mut headers = HeaderMap::new();
        tell(&mut headers, &[]);
        assert!(headers.is_empty());
        let standings = [
            Standing { policy: "address", quota: 12_000, remaining: 11_999 },
            Standing { policy: "token", quota: 100, remaining: 25 },
        ];
        tell(&mut headers, &standings);
        assert_eq!(headers["ratelimit-policy"], r#""address";q=12000;w=60, "token";q=100;w=60"#);
        assert_eq!(headers["ratelimit"], r#""address";r=11999;t=1, "token";r=25;t=45"#);
    }
}
