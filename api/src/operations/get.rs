//! `GET /api/v1/operations/{id}`: how far an operation is, and its outcome.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use shared::{ids::OperationId, problem::Problem, view::OperationRead};

use super::{find, not_found};
use crate::{
    auth::Member,
    parameters::Segment,
    prefer::{PREFERENCE_APPLIED, Prefer},
    problem::Failure,
    request::touches,
    state::App,
    wait::outcome,
};

/// Shows an operation; `Prefer: wait=<seconds>` waits for its outcome.
#[utoipa::path(
    get,
    path = "/api/v1/operations/{id}",
    operation_id = "getOperation",
    tag = "operations",
    params(
        ("id" = String, Path, format = Uuid, description = "The operation"),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>` waits for the outcome, at most 60 s"),
    ),
    responses(
        (status = 200, description = "The operation", body = OperationRead,
         headers(("Retry-After" = String), ("Vary" = String))),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A token of no organization", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get(
    State(app): State<App>,
    member: Member,
    Segment(text): Segment,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let id: OperationId = text.parse().map_err(|_| not_found())?;
    touches(id);
    // `respond-async` means nothing here: the answer is the operation in any case.
    let prefer = Prefer { respond_async: false, ..Prefer::of(&headers) };
    let wait = prefer.wait.filter(|wait| !wait.is_zero());
    let waiter = wait.and_then(|_| app.waiters.register(id).ok());
    let mut read = find(&app, &member, id).await?;
    if let (false, Some(wait)) = (read.is_finished(), wait) {
        read = match outcome(&app, waiter, wait).await {
            Some(outcome) => outcome,
            None => find(&app, &member, id).await?,
        };
    }
    let mut response = Json(&read).into_response();
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Prefer"));
    if !read.is_finished() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(applied) = prefer.applied() {
        headers.insert(PREFERENCE_APPLIED.clone(), applied);
    }
    Ok(response)
}
