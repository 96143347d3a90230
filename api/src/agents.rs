//! `/api/v1/agents` for people, `/api/v1/agent` for the agents themselves: one endpoint, one file.

pub mod beats;
pub mod get;
pub mod healthz;
pub mod heartbeat;
pub mod list;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use shared::{clock::rfc3339, ids::AgentId, view::AgentRead};

use crate::{problem::Failure, state::App};

/// Stored agents as they are shown: with the time at which each last called, which is an observation.
///
/// # Errors
///
/// The database is away.
pub async fn shown(app: &App, documents: &[String]) -> Result<Vec<AgentRead>, Failure> {
    let read = documents.iter().map(|document| serde_json::from_str(document)).collect();
    let mut agents: Vec<AgentRead> =
        Result::map_err(read, |error: serde_json::Error| Failure::internal(&error))?;
    let ids: Vec<AgentId> = agents.iter().map(|agent| agent.id).collect();
    let calls: HashMap<AgentId, DateTime<Utc>> = app.store.check_ins(&ids).await?.into_iter().collect();
    for agent in &mut agents {
        if let Some(at) = calls.get(&agent.id) {
            agent.checked_in_at = Some(rfc3339(*at));
        }
    }
    Ok(agents)
}
