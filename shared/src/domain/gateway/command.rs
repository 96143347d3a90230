//! What may be asked of a gateway's stream.

use chrono::{DateTime, Utc};

use super::{
    change::{UpdateRequested, Updated},
    event::{MainAgent, Requested, Verified},
    failure::Failure,
    health::{Ailment, Health},
    patience::Patience,
    sync::{SyncRequested, Synced},
};
use crate::ids::OperationId;

/// What became of the main agent when a registration failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// It was never created.
    Nothing,
    /// It was created and removed again.
    Removed {
        /// As the gateway knows it.
        agent_id: String,
    },
    /// It may still be there; a clean-up job goes on.
    MayRemain,
    /// It may still be there, and nothing dials that gateway again by itself.
    LeftBehind {
        /// As the gateway knows it.
        agent_id: String,
        /// Why it could not be removed.
        why: String,
    },
}

/// An order; whether it is followed, [`decide`](super::decide) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Register it.
    Request(Box<Requested>),
    /// An attempt failed; another one follows.
    RecordAttemptFailed {
        /// Counted from 1.
        attempt: u32,
        /// Where and why.
        failure: Failure,
        /// When the next one starts.
        retry_at: DateTime<Utc>,
        /// Whether the agent may be on the gateway now.
        agent_may_remain: bool,
    },
    /// A person must approve our device.
    RecordPairingRequired {
        /// Our device.
        device_id: String,
        /// The gateway's request.
        request_id: Option<String>,
        /// The command that approves it.
        approve: String,
        /// When waiting ends.
        until: DateTime<Utc>,
        /// Whether the agent may be on the gateway now.
        agent_may_remain: bool,
    },
    /// Everything is done.
    RecordCreated {
        /// What the gateway said of itself.
        verified: Verified,
        /// Its main agent.
        agent: MainAgent,
    },
    /// It failed for good.
    RecordFailed {
        /// Where and why.
        failure: Failure,
        /// Attempts that were made.
        attempts: u32,
        /// What is left on the gateway.
        leftover: Leftover,
    },
    /// The clean-up after a failure succeeded.
    RecordAgentRemoved {
        /// As the gateway knows it.
        agent_id: String,
        /// Why it was removed.
        why: String,
    },
    /// The clean-up after a failure was given up.
    RecordAgentLeftBehind {
        /// As the gateway knows it.
        agent_id: String,
        /// Why.
        why: String,
    },
    /// Run a failed registration again.
    Retry {
        /// The operation that this starts.
        operation: OperationId,
        /// How long to try.
        patience: Patience,
        /// Who asks, by name.
        by: String,
    },
    /// End an unfinished operation.
    Cancel {
        /// Which.
        operation: OperationId,
        /// Who asks, by name.
        by: String,
        /// Why.
        reason: String,
    },
    /// Change a registered gateway.
    RequestUpdate {
        /// What is asked for.
        update: Box<UpdateRequested>,
        /// Only if the gateway has this revision.
        only_at: Option<u64>,
    },
    /// The change took effect.
    RecordUpdated(Box<Updated>),
    /// The change did not take effect.
    RecordUpdateFailed {
        /// Where and why.
        failure: Failure,
        /// Attempts that were made.
        attempts: u32,
        /// An agent that may be left on the gateway that was tried.
        left_behind: Option<String>,
    },
    /// The main agent's files were written anew.
    RecordAgentRefreshed(MainAgent),
    /// Write its agents anew.
    RequestSync(SyncRequested),
    /// Every agent was tried.
    RecordSynced(Box<Synced>),
    /// No agent could be tried.
    RecordSyncFailed {
        /// Where and why.
        failure: Failure,
        /// Attempts that were made.
        attempts: u32,
    },
    /// Remove a registered gateway.
    RequestDeletion {
        /// The operation that this starts.
        operation: OperationId,
        /// How long to try.
        patience: Patience,
        /// Remove our side even if the gateway cannot be reached.
        force: bool,
        /// Who asks, by name.
        by: String,
    },
    /// Everything that could be removed is.
    RecordDeleted {
        /// Agents that were removed from the gateway.
        removed: Vec<String>,
        /// Agents that may still be on it.
        left: Vec<String>,
        /// Why they were left.
        why: Option<String>,
    },
    /// The gateway could not be removed.
    RecordDeletionFailed {
        /// Where and why.
        failure: Failure,
        /// Attempts that were made.
        attempts: u32,
    },
    /// A probe reached it.
    RecordReached(Verified),
    /// Probes found that it cannot be used.
    RecordNotUsable {
        /// Degraded or offline.
        health: Health,
        /// Why.
        ailment: Box<Ailment>,
    },
    /// The main agent called.
    RecordCheckedIn {
        /// When.
        at: DateTime<Utc>,
    },
    /// The main agent was woken and did not call.
    RecordMissedCheckIn {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// Nobody waits for the main agent's call any more.
    RecordAgentOffline {
        /// How often it was woken again.
        wakes: u32,
        /// Why.
        why: String,
    },
    /// The sealed token of a failed registration is no longer kept.
    RecordTokenErased {
        /// Why.
        why: String,
    },
}
