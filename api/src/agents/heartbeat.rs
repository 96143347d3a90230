//! `POST /api/v1/agent/heartbeat`: a main agent checks in.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    chain::chain,
    clock::rfc3339,
    domain::gateway::Command,
    envelope::Actor,
    execute::{Context, execute},
    ids::{AgentId, GatewayId},
    problem::Problem,
};
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

/// The log does not say yet that this agent calls. If it cannot be written now, the next call does it.
async fn record(app: &App, (gateway, agent): (GatewayId, AgentId), at: DateTime<Utc>) {
    let context =
        Context::of(Actor { kind: "agent".to_owned(), id: agent.to_string(), name: "main agent".to_owned() });
    let target = (gateway, Command::RecordCheckedIn { at });
    match execute(app.store.as_ref(), app.clock.as_ref(), target, &context, |_| {}).await {
        Ok(_) => tracing::info!(%agent, gateway.id = %gateway, "main agent checked in"),
        Err(error) => tracing::warn!(%agent, error = chain(&error), "a check-in was noted and not recorded"),
    }
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
    if let Some(gateway) = app.store.check_in(agent, now).await? {
        record(&app, (gateway, agent), now).await;
    }
    Ok(Json(CheckIn { ok: true, agent_id: agent, checked_in_at: rfc3339(now) }))
}
