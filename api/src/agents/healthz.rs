//! `GET /api/v1/agent/healthz`: whether an agent's token is good. Notes nothing.

use axum::{Json, extract::State};
use serde::Serialize;
use shared::{clock::rfc3339, ids::AgentId, problem::Problem};
use utoipa::ToSchema;

use crate::{auth::Agent, problem::Failure, state::App};

/// An agent whose token is good.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentHealth {
    /// Always true.
    pub ok: bool,
    /// Whose token it is.
    #[schema(value_type = String, pattern = "^agent-[0-9A-Z]{26}$")]
    pub agent_id: AgentId,
    /// When it last checked in; null if it never did.
    #[schema(required)]
    pub checked_in_at: Option<String>,
}

/// Tells an agent that its token is good.
#[utoipa::path(
    get,
    path = "/api/v1/agent/healthz",
    operation_id = "agentHealth",
    tag = "agents",
    security(("agent_token" = []), ("agent_bearer" = [])),
    responses(
        (status = 200, description = "The token is good", body = AgentHealth),
        (status = 401, description = "No valid agent token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A token that is no agent's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn healthz(
    State(app): State<App>,
    Agent(agent): Agent,
) -> Result<Json<AgentHealth>, Failure> {
    let last = app.store.check_ins(&[agent]).await?.first().map(|(_, at)| rfc3339(*at));
    Ok(Json(AgentHealth { ok: true, agent_id: agent, checked_in_at: last }))
}
