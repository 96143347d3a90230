//! `/healthz`, `/readyz` and `/metrics`.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::{problem::Problem, scrape::CONTENT_TYPE, store::StoreError};
use utoipa::ToSchema;

use crate::{
    auth::bearer,
    problem::{Failure, codes},
    state::App,
};

/// Most that a readiness check takes.
const READY_LIMIT: Duration = Duration::from_secs(3);

/// What a health check answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
}

const OK: Health = Health { status: "ok" };

/// The process runs; nothing else is asked.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "health", security(),
    responses((status = 200, description = "The process runs", body = Health)),
)]
pub(crate) async fn healthz() -> Json<Health> {
    Json(OK)
}

/// The database answers: requests can be served.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "health", security(),
    responses(
        (status = 200, description = "Requests can be served", body = Health),
        (status = 503, description = "The database does not answer", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Health>, Failure> {
    if !app.prepared.is_set() {
        return Err(StoreError::Closed.into());
    }
    match tokio::time::timeout(READY_LIMIT, app.store.ping()).await {
        Ok(Ok(())) => Ok(Json(OK)),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(StoreError::Closed.into()),
    }
}

/// Metrics for Prometheus, of this process; what waits in the queue is that of the whole installation. With
/// `METRICS_TOKEN` set, only for who sends that as bearer token.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "health", security((), ("metrics" = [])),
    responses(
        (status = 200, description = "Prometheus text format", body = String, content_type = "text/plain"),
        (status = 401, description = "Not the token that the setting names", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Nothing is collected", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Failure> {
    if !app.guard.opens_metrics(bearer(&headers)) {
        let detail = "Send `Authorization: Bearer <token>` with the token that METRICS_TOKEN is set to.";
        return Err(Failure::new(&codes::UNAUTHENTICATED, detail).with(header::WWW_AUTHENTICATE, "Bearer"));
    }
    let nothing = || Failure::new(&codes::NOT_FOUND, "This process collects no metrics.");
    let scrape = app.metrics.as_ref().ok_or_else(nothing)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], scrape.page().await).into_response())
}
