//! `GET /api/v1/agents/{id}`.

use axum::{Json, extract::State};
use shared::{ids::AgentId, problem::Problem, view::AgentRead};

use super::shown;
use crate::{
    auth::Member,
    parameters::Segment,
    problem::{Failure, codes},
    state::App,
};

/// Shows a main agent.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{id}",
    operation_id = "getAgent",
    tag = "agents",
    params(("id" = String, Path, description = "The `gateway_agent_id`")),
    responses(
        (status = 200, description = "The agent", body = AgentRead),
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
) -> Result<Json<AgentRead>, Failure> {
    let not_found = || Failure::new(&codes::NOT_FOUND, "There is no such agent in this organization.");
    let id: AgentId = text.parse().map_err(|_| not_found())?;
    let document = app.store.agent(member.organization, id).await?.ok_or_else(not_found)?;
    shown(&app, &[document]).await?.pop().map(Json).ok_or_else(not_found)
}
