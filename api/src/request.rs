//! Around every request: its id, its trace, its log line, and the body of its problem.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use headers::Header as _;
use headers_accept::Accept;
use mediatype::MediaType;
use shared::{ids::OperationId, meter};
use tracing::{Instrument as _, Span, field::Empty};

use crate::{
    guard::harden,
    problem::{Failure, codes, finish},
};

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What a request is known by.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Ours, or the client's.
    pub request_id: Arc<str>,
    /// W3C trace context: the client's trace where it sent one.
    pub traceparent: Arc<str>,
}

/// Tells which operation this request is about: its log lines are found by that.
pub fn touches(operation: OperationId) {
    Span::current().record("operation", tracing::field::display(operation));
}

/// The status that is logged and counted where the client went away before its answer.
const CLIENT_GONE: u16 = 499;

/// The one log line of a request, written when it is answered, or when nobody waits for the answer any more.
struct AccessLine {
    span: Span,
    method: Method,
    path: String,
    route: String,
    started: Instant,
    status: u16,
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        let Self { span, method, path, route, started, status } = &*self;
        let elapsed = started.elapsed();
        meter::request((method.as_str(), route, *status), elapsed);
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        span.in_scope(
            || tracing::info!(%method, path = path.as_str(), status = *status, duration_ms, "request"),
        );
    }
}

/// Gives a request its id, answers what it fails with, and writes its one log line.
pub async fn around(mut request: Request, next: Next) -> Response {
    let identity = identify(&request);
    let span = tracing::info_span!("http", request.id = %identity.request_id, traceparent = %identity.traceparent,
        operation = Empty);
    let mut line = AccessLine {
        span: span.clone(),
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        route: request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned(),
        started: Instant::now(),
        status: CLIENT_GONE,
    };
    request.extensions_mut().insert(identity.clone());
    let response = match acceptable(&request) {
        Ok(()) => next.run(request).instrument(span).await,
        Err(failure) => failure.into_response(),
    };
    let mut response = finish(response, &identity.request_id, &line.path);
    if let Ok(value) = HeaderValue::from_str(&identity.request_id) {
        response.headers_mut().insert(X_REQUEST_ID.clone(), value);
    }
    harden(&line.path, &mut response);
    line.status = response.status().as_u16();
    response
}

fn identify(request: &Request) -> Identity {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_id = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    let request_id = text(&X_REQUEST_ID)
        .filter(is_id)
        .map_or_else(|| Arc::from(uuid::Uuid::new_v4().to_string()), Arc::from);
    let trace = text(&TRACEPARENT)
        .and_then(trace_id)
        .map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned);
    let (span, _) = uuid::Uuid::new_v4().as_u64_pair();
    Identity { request_id, traceparent: format!("00-{trace}-{span:016x}-01").into() }
}

/// The trace id of a W3C `traceparent` of version 00; `None` if it is not one.
fn trace_id(text: &str) -> Option<&str> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_some = |part: &str| part.bytes().any(|byte| byte != b'0');
    let is_valid = version == "00" && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    (is_valid && is_some(trace) && is_some(span) && parts.next().is_none()).then_some(trace)
}

/// What is answered under `/api/` is JSON, but for the stream of events; who excludes that is told so.
fn acceptable(request: &Request) -> Result<(), Failure> {
    if !request.uri().path().starts_with("/api/") {
        return Ok(());
    }
    let mut values = request.headers().get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let json = [
        MediaType::new(mediatype::names::APPLICATION, mediatype::names::JSON),
        MediaType::from_parts(
            mediatype::names::APPLICATION,
            mediatype::Name::new_unchecked("problem"),
            Some(mediatype::names::JSON),
            &[],
        ),
    ];
    let events = [MediaType::new(mediatype::names::TEXT, mediatype::names::EVENT_STREAM)];
    let is_stream = request.uri().path() == "/api/v1/events/stream";
    let (types, named): (&[MediaType<'_>], _) =
        if is_stream { (&events, "text/event-stream") } else { (&json, "application/json") };
    match Accept::decode(&mut values) {
        Ok(accept) if accept.negotiate(types).is_none() => Err(Failure::new(
            &codes::NOT_ACCEPTABLE,
            format!("The answer is {named}; the Accept header excludes it."),
        )),
        // A header that cannot be read excludes nothing.
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_trace_is_continued() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{trace}-00f067aa0ba902b7-01")), Some(trace));
        for bad in [
            "",
            "00",
            &format!("01-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{trace}-0000000000000000-01"),
            &format!("00-{trace}-00f067aa0ba902b7-01-x"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
        ] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }
}
