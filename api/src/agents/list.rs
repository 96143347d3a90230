//! `GET /api/v1/agents`: the organization's main agents, newest first.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::Serialize;
use shared::{problem::Problem, view::AgentRead};
use utoipa::ToSchema;

use super::shown;
use crate::{auth::Member, parameters::Parameters, problem::Failure, state::App};

/// A page of agents.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentPage {
    /// The agents.
    pub items: Vec<AgentRead>,
    /// How many there are in all.
    pub total: u64,
    /// As asked for.
    pub limit: u32,
    /// As asked for.
    pub offset: u64,
}

/// Lists the organization's main agents, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/agents",
    operation_id = "listAgents",
    tag = "agents",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Most agents to show; 50 by default"),
        ("offset" = Option<u64>, Query, minimum = 0, maximum = 9_000_000_000_000_000_u64, description = "How many to pass over"),
    ),
    responses(
        (status = 200, description = "The page", body = AgentPage),
        (status = 400, description = "A parameter is out of range", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A token of no organization", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    member: Member,
    RawQuery(query): RawQuery,
) -> Result<Json<AgentPage>, Failure> {
    let mut parameters = Parameters::of(query.as_deref());
    let limit = parameters.number("limit", (1, 100), 50);
    let offset = parameters.number("offset", (0, 9_000_000_000_000_000), 0);
    parameters.done()?;
    let page = app.store.agents(member.organization, limit, offset).await?;
    Ok(Json(AgentPage { items: shown(&app, &page.items).await?, total: page.total, limit, offset }))
}
