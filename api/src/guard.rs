//! What stands around every endpoint: limits, the header fields that browsers heed, and who may read the metrics.

use std::time::Duration;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    response::Response,
};
use shared::{secret::Secret, token};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    config::access::Access,
    rates::{Limiter, Rates},
};

/// How long a browser may keep what it was told about an origin.
const PREFLIGHT: Duration = Duration::from_hours(1);

/// How the API guards itself; the default limits nothing and lets no page of another origin in. Cheap to clone.
#[derive(Clone, Default)]
pub struct Guard {
    /// Counts requests.
    pub limiter: Limiter,
    /// Origins whose pages may call.
    pub origins: Vec<HeaderValue>,
    /// SHA-256 of the token that the metrics ask for.
    pub metrics: Option<[u8; 32]>,
}

impl Guard {
    /// By these settings.
    #[must_use]
    pub fn of(access: &Access) -> Self {
        let rates = Rates {
            token: access.rate_limit_token,
            address: access.rate_limit_address,
            attempts: access.rate_limit_attempts,
        };
        Self {
            limiter: Limiter::new(rates, access.trusted_proxies.clone()),
            origins: access.cors_allow_origins.clone(),
            metrics: None,
        }
        .with_metrics_token(access.metrics_token.as_ref())
    }

    /// The same; who reads the metrics must have this token.
    #[must_use]
    pub fn with_metrics_token(self, token: Option<&Secret>) -> Self {
        Self { metrics: token.map(|token| token::hash(token.expose())), ..self }
    }

    /// Whether this bearer token opens the metrics. Hashes are compared, so the time it takes tells nothing.
    #[must_use]
    pub fn opens_metrics(&self, given: Option<&str>) -> bool {
        self.metrics.is_none_or(|wanted| given.is_some_and(|given| token::hash(given) == wanted))
    }

    /// CORS for the origins that may call; `None` where there are none, and browsers keep all others out.
    #[must_use]
    pub fn cors(&self) -> Option<CorsLayer> {
        if self.origins.is_empty() {
            return None;
        }
        let origins = if self.origins.iter().any(|origin| origin == "*") {
            AllowOrigin::any()
        } else {
            AllowOrigin::list(self.origins.iter().cloned())
        };
        let name = HeaderName::from_static;
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_MATCH,
                header::IF_NONE_MATCH,
                name("idempotency-key"),
                name("last-event-id"),
                name("prefer"),
                name("traceparent"),
                name("x-agent-token"),
                name("x-request-id"),
            ])
            .expose_headers([
                header::ETAG,
                header::LOCATION,
                header::RETRY_AFTER,
                name("operation-location"),
                name("preference-applied"),
                name("ratelimit"),
                name("ratelimit-policy"),
                name("x-request-id"),
            ])
            .max_age(PREFLIGHT);
        Some(layer)
    }
}

/// Scripts and styles come from here only; the reader's own library writes styles into its page.
const READER: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Nothing is loaded, run, framed or sent.
const NOTHING: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Header fields that tell browsers and caches what they may do with an answer.
pub fn harden(path: &str, response: &mut Response) {
    let is_reader = path.starts_with("/docs");
    let is_public = is_reader || path.starts_with("/problems/") || path == "/openapi.json";
    let headers = response.headers_mut();
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::X_FRAME_OPTIONS, "DENY");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    set(headers, header::CONTENT_SECURITY_POLICY, if is_reader { READER } else { NOTHING });
    set(headers, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(headers, header::CACHE_CONTROL, if is_public { "no-cache" } else { "no-store" });
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
