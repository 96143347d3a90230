//! `POST /api/v1/operations/{id}/cancel`: ends an unfinished operation.

use axum::{Json, extract::State};
use shared::{
    domain::gateway::{Command, operation::Kind},
    execute::execute,
    ids::OperationId,
    meter::{self, Creation},
    problem::Problem,
    view::OperationRead,
};

use super::{find, not_found};
use crate::{
    auth::Admin, change::refused, parameters::Segment, problem::Failure, request::touches, state::App,
};

/// Ends an unfinished operation. What it has left on the gateway is removed.
#[utoipa::path(
    post,
    path = "/api/v1/operations/{id}/cancel",
    operation_id = "cancelOperation",
    tag = "operations",
    params(("id" = String, Path, format = Uuid, description = "The operation")),
    responses(
        (status = 200, description = "The operation, cancelled", body = OperationRead),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not an organization admin", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has ended already, or cannot be taken back", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    Admin(member): Admin,
    Segment(text): Segment,
) -> Result<Json<OperationRead>, Failure> {
    let id: OperationId = text.parse().map_err(|_| not_found())?;
    touches(id);
    let read = find(&app, &member, id).await?;
    let known = crate::change::owned(&app, &member, read.gateway_id).await?;
    let by = member.actor.name.clone();
    let command = Command::Cancel { operation: id, by, reason: "on request".to_owned() };
    let context = member.context();
    let complete = |commit: &mut shared::commit::Commit| {
        shared::register::after_cancel(commit, &known, &context);
    };
    let target = (read.gateway_id, command);
    let executed = execute(app.store.as_ref(), app.clock.as_ref(), target, &context, complete).await;
    executed.map_err(|error| refused(error, &read.gateway_id.to_string()))?;
    if known.operation.kind == Kind::Create {
        meter::creation(Creation::Cancelled);
    }
    find(&app, &member, id).await.map(Json)
}
