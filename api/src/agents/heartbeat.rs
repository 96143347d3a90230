//! `POST /api/v1/agent/heartbeat`: a main agent checks in.

use axum::{Json, extract::State};
use serde::Serialize;
use shared::{clock::rfc3339, ids::AgentId, problem::Problem};
use utoipa::ToSchema;

use crate::{auth::Agent, problem::Failure, state::App};

/// A check-in that was noted.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckIn {
    /// Always true.
    pub ok: bool,
    /// Who checked in.
    #[schema(value_type = String, pattern = "^agent-[0-9A-Z]{26}$")]
    pub agent_id: AgentId,
    /// When.
    pub checked_in_at: String,
}

/// Notes that the agent whose token this is has called. A body is not read.
#[utoipa::path(
    post,
    path = "/api/v1/agent/heartbeat",
    operation_id = "agentHeartbeat",
    tag = "agents",
    security(("agent_token" = []), ("agent_bearer" = [])),
    responses(
        (status = 200, description = "Noted", body = CheckIn),
        (status = 401, description = "No valid agent token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A token that is no agent's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn heartbeat(State(app): State<App>, Agent(agent): Agent) -> Result<Json<CheckIn>, Failure> {
    let now = app.clock.now();
    app.store.check_in(agent, now).await?;
    tracing::info!(%agent, "agent checked in");
    Ok(Json(CheckIn { ok: true, agent_id: agent, checked_in_at: rfc3339(now) }))
}
