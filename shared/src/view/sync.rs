//! What a synchronization of templates answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{domain::gateway::Known, ids::GatewayId};

/// What became of the agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncRead {
    /// The gateway.
    #[schema(value_type = String, format = Uuid)]
    pub gateway_id: GatewayId,
    /// As asked for.
    pub include_main: bool,
    /// As asked for.
    pub reset_sessions: bool,
    /// Agents of boards that were written; always 0, for there are no boards yet.
    pub agents_updated: u64,
    /// Agents of boards that were passed over; always 0.
    pub agents_skipped: u64,
    /// Whether the main agent was written.
    pub main_updated: bool,
    /// What went wrong, agent by agent.
    pub errors: Vec<SyncError>,
}

/// What went wrong with one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncError {
    /// As the gateway knows it.
    pub agent_id: String,
    /// What people call it.
    pub agent_name: String,
    /// Always null: there are no boards yet.
    pub board_id: Option<String>,
    /// Where and why.
    pub message: String,
}

/// The last synchronization, if it has its outcome.
pub(super) fn sync_read(known: &Known) -> Option<SyncRead> {
    let (options, Some(synced)) = known.sync.as_ref()? else { return None };
    let errors = synced.errors.iter().cloned().map(|fault| SyncError {
        agent_id: fault.agent_id,
        agent_name: fault.agent_name,
        board_id: None,
        message: fault.message,
    });
    Some(SyncRead {
        gateway_id: known.request.gateway,
        include_main: options.include_main,
        reset_sessions: options.reset_sessions,
        agents_updated: 0,
        agents_skipped: 0,
        main_updated: synced.agent.is_some(),
        errors: errors.collect(),
    })
}
