//! `POST /api/v1/gateways/{id}/retry`: runs a failed registration again, with the stored request.

use axum::{extract::State, http::HeaderMap, response::Response};
use shared::{
    domain::gateway::Command,
    job::Kind,
    problem::Problem,
    view::{GatewayRead, OperationRead},
};

use super::id;
use crate::{
    auth::Admin,
    change::{Change, Wait, owned, start},
    parameters::Segment,
    problem::Failure,
    state::App,
};

/// Runs a failed registration again, for example after a person approved our device.
#[utoipa::path(
    post,
    path = "/api/v1/gateways/{id}/retry",
    operation_id = "retryGateway",
    tag = "gateways",
    params(
        ("id" = String, Path, format = Uuid, description = "The gateway, as the failure's `gateway_id` names it"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`, `wait=<seconds>` or both (RFC 7240)"),
    ),
    responses(
        (status = 200, description = "Registered and provisioned", body = GatewayRead,
         headers(("Location" = String), ("ETag" = String))),
        (status = 202, description = "Recorded; the operation has the outcome", body = OperationRead,
         headers(("Location" = String), ("Operation-Location" = String), ("Retry-After" = String))),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not an organization admin", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It did not fail, or its token is erased", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The gateway is unreachable, or authentication failed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gateway's version is not supported, or our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn retry(
    State(app): State<App>,
    Admin(member): Admin,
    Segment(text): Segment,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let known = owned(&app, &member, id(&text)?).await?;
    let wait = Wait::of(&headers, &app);
    let (patience, by) = (wait.patience, member.actor.name.clone());
    start(&app, &member, Change::of(&known, Kind::ProvisionGateway), wait, |operation| Command::Retry {
        operation,
        patience,
        by,
    })
    .await
}
