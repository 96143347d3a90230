//! `DELETE /api/v1/gateways/{id}`: removes the main agent from the gateway, then the gateway.

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use shared::{
    domain::gateway::Command,
    job::Kind,
    problem::Problem,
    view::{Done, OperationRead},
};

use super::{id, not_found};
use crate::{
    auth::Admin,
    change::{Change, Wait, owned, start},
    parameters::{Parameters, Segment},
    problem::Failure,
    state::App,
};

/// Removes a gateway: its main agent, its entry and its files, its tokens, and itself.
///
/// If the gateway cannot be reached nothing is lost and the answer is 502; with `force=true` our side is removed all
/// the same, and what was left behind is recorded.
#[utoipa::path(
    delete,
    path = "/api/v1/gateways/{id}",
    operation_id = "deleteGateway",
    tag = "gateways",
    params(
        ("id" = String, Path, format = Uuid, description = "The gateway"),
        ("force" = Option<bool>, Query, description = "Remove our side even if the gateway cannot be reached"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`, `wait=<seconds>` or both (RFC 7240)"),
    ),
    responses(
        (status = 200, description = "Removed", body = Done),
        (status = 202, description = "Recorded; the operation has the outcome", body = OperationRead,
         headers(("Location" = String), ("Operation-Location" = String), ("Retry-After" = String))),
        (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not an organization admin", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another change of this gateway is running", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The gateway cannot be reached; nothing was lost", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The gateway's version is not supported, or our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn remove(
    State(app): State<App>,
    Admin(member): Admin,
    Segment(text): Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let mut parameters = Parameters::of(query.as_deref());
    let force = parameters.switch("force");
    parameters.done()?;
    let known = owned(&app, &member, id(&text)?).await?;
    if !known.is_registered() {
        return Err(not_found(&text));
    }
    let wait = Wait::of(&headers, &app);
    let (patience, by) = (wait.patience, member.actor.name.clone());
    start(&app, &member, Change::of(&known, Kind::RemoveGateway), wait, |operation| {
        Command::RequestDeletion { operation, patience, force, by }
    })
    .await
}
