//! What a worker has to do. The row lives from the commit that causes it to the commit that records its outcome.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};

use crate::ids::{GatewayId, JobId, LeaseToken, OperationId};

/// The kinds; the names are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reach a gateway and provision its main agent.
    ProvisionGateway,
    /// Remove the main agent of a failed registration.
    RemoveMainAgent,
    /// Erase the sealed token of a failed registration.
    EraseToken,
    /// Try a change of a registered gateway, and let it take effect.
    UpdateGateway,
    /// Write the agents anew from the templates.
    SyncTemplates,
    /// Write the main agent's files anew after a change that the gateway was too far away for.
    RefreshMainAgent,
    /// Remove the main agent from the gateway that was left.
    RemoveMovedAgent,
    /// Remove a registered gateway's main agent, then the gateway.
    RemoveGateway,
    /// Look whether a gateway can be reached, and note it.
    ProbeGateway,
    /// Look whether a main agent has called.
    AwaitCheckIn,
    /// Wake a main agent that did not call.
    WakeMainAgent,
}

impl Kind {
    /// Every kind, for the snapshot of stored names.
    pub const ALL: [Self; 11] = [
        Self::ProvisionGateway,
        Self::RemoveMainAgent,
        Self::EraseToken,
        Self::UpdateGateway,
        Self::SyncTemplates,
        Self::RefreshMainAgent,
        Self::RemoveMovedAgent,
        Self::RemoveGateway,
        Self::ProbeGateway,
        Self::AwaitCheckIn,
        Self::WakeMainAgent,
    ];

    /// The stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProvisionGateway => "provision_gateway",
            Self::RemoveMainAgent => "remove_main_agent",
            Self::EraseToken => "erase_token",
            Self::UpdateGateway => "update_gateway",
            Self::SyncTemplates => "sync_templates",
            Self::RefreshMainAgent => "refresh_main_agent",
            Self::RemoveMovedAgent => "remove_moved_agent",
            Self::RemoveGateway => "remove_gateway",
            Self::ProbeGateway => "probe_gateway",
            Self::AwaitCheckIn => "await_check_in",
            Self::WakeMainAgent => "wake_main_agent",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A job of a newer program: left in the queue for a worker that knows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job kind {0} is not known to this program")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// Key of the jobs that wait for an agent's call: they dial nobody, so they must not wait for those who do, nor hold them
/// up.
#[must_use]
pub fn check_in_key(gateway: GatewayId) -> String {
    format!("check-in:{gateway}")
}

/// A job, without secrets: only references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What to do.
    pub kind: Kind,
    /// For which gateway.
    pub gateway: GatewayId,
    /// For which operation.
    pub operation: OperationId,
    /// At most one job per key is leased at a time, across the fleet.
    pub gateway_key: String,
    /// Not before.
    pub run_at: DateTime<Utc>,
    /// The attempt that a delivery makes, from 1.
    pub attempt: u32,
    /// When it was first enqueued.
    pub created_at: DateTime<Utc>,
    /// W3C trace context of the request that caused it.
    pub traceparent: Option<String>,
}

/// The right to work on one delivery of a job and to record its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: Job,
    /// Fences the outcome.
    pub token: LeaseToken,
    /// Deliveries whose worker was lost before this one.
    pub lost_leases: u32,
}
