//! Writing the agents of a gateway anew from the templates, as it was asked for.

use serde::{Deserialize, Serialize};

use super::{
    event::{MainAgent, Verified},
    failure::{Code, Failure},
    patience::Patience,
};
use crate::ids::OperationId;

/// What is asked for beside the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a documented switch of its own, set by name")]
pub struct Options {
    /// The main agent is written too.
    pub include_main: bool,
    /// Of the agents of boards only the leads; there are no boards yet.
    pub lead_only: bool,
    /// The agent's session is begun anew.
    pub reset_sessions: bool,
    /// The agent gets another token; the old one ends when the files are written.
    pub rotate_tokens: bool,
    /// The agent is sent its first message again.
    pub force_bootstrap: bool,
    /// Files that the agent itself writes in are overwritten too.
    pub overwrite: bool,
}

/// Somebody asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequested {
    /// The operation that this starts.
    pub operation: OperationId,
    /// How long to try.
    pub patience: Patience,
    /// Who asked, by name.
    pub by: String,
    /// How.
    #[serde(flatten)]
    pub options: Options,
}

/// What went wrong with one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFault {
    /// As the gateway knows it.
    pub agent_id: String,
    /// What people call it.
    pub agent_name: String,
    /// Where and why.
    pub message: String,
}

/// Every agent was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// What the gateway said of itself; `None` where no agent was asked for, or none could be written.
    pub verified: Option<Verified>,
    /// The main agent as it was written; `None` where it was not.
    pub agent: Option<MainAgent>,
    /// What went wrong, agent by agent.
    pub errors: Vec<AgentFault>,
}

/// No agent could be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncFailed {
    /// Where and why.
    #[serde(flatten)]
    pub failure: Failure,
    /// The problem code that the caller is told.
    pub code: Code,
    /// Attempts that were made.
    pub attempts: u32,
}
