//! Waiting for an operation's outcome, and answering with it: the same for the client that waited and for the one that
//! reads it later.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use shared::{
    ids::OperationId,
    store::StoredOperation,
    view::{OperationRead, OperationResult, is_finished},
    watch::Waiter,
};

use crate::{
    prefer::{PREFERENCE_APPLIED, Prefer},
    problem::{Failure, codes},
    state::App,
};

static OPERATION_LOCATION: HeaderName = HeaderName::from_static("operation-location");

/// The address of an operation.
#[must_use]
pub fn location(operation: OperationId) -> String {
    format!("/api/v1/operations/{operation}")
}

/// The outcome, if it comes in time; `None` also when the process is to stop.
pub async fn outcome(app: &App, waiter: Option<Waiter>, patience: Duration) -> Option<OperationRead> {
    let waiter = waiter?;
    let document = tokio::select! {
        document = waiter.outcome() => document?,
        () = tokio::time::sleep(patience) => return None,
        () = app.stop.cancelled() => return None,
    };
    serde_json::from_str(&document).ok()
}

/// Reads a stored operation; `running` where a worker holds its job.
///
/// # Errors
///
/// An internal failure if the stored document cannot be read.
pub fn shown(stored: &StoredOperation) -> Result<OperationRead, Failure> {
    let mut read: OperationRead =
        serde_json::from_str(&stored.document).map_err(|error| Failure::internal(&error))?;
    if stored.running && !is_finished(&stored.status) {
        "running".clone_into(&mut read.status);
    }
    Ok(read)
}

/// What a waiting client gets once the outcome is known: the result, or the problem.
#[must_use]
pub fn finished(operation: &OperationRead, prefer: Prefer) -> Response {
    let mut response = match &operation.result {
        Some(OperationResult::Gateway(gateway)) => {
            let location = format!("/api/v1/gateways/{}", gateway.id);
            let headers = [(header::LOCATION, location), (header::ETAG, etag(gateway.revision))];
            (headers, Json(gateway)).into_response()
        }
        Some(OperationResult::Synced(read)) => Json(read).into_response(),
        Some(OperationResult::Done(done)) => Json(done).into_response(),
        None => {
            let detail = "The operation has ended without an outcome that can be shown.";
            let nothing = || Failure::new(&codes::INTERNAL_ERROR, detail);
            operation.error.clone().map_or_else(nothing, Failure::from).into_response()
        }
    };
    if let Some(applied) = prefer.applied() {
        response.headers_mut().insert(PREFERENCE_APPLIED.clone(), applied);
    }
    response
}

/// 202: it is recorded and will be done.
#[must_use]
pub fn accepted(operation: &OperationRead, prefer: Prefer) -> Response {
    let location = location(operation.id);
    let mut response = (StatusCode::ACCEPTED, Json(operation)).into_response();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, value.clone());
        headers.insert(OPERATION_LOCATION.clone(), value);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    if let Some(applied) = prefer.applied() {
        headers.insert(PREFERENCE_APPLIED.clone(), applied);
    }
    response
}

/// The strong entity tag of a revision.
#[must_use]
pub fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}
