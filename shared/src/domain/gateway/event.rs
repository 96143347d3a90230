//! What happened to a gateway. The names are stored for ever and pinned by a snapshot.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    change::{UpdateFailed, UpdateRequested, Updated},
    failure::{Code, Failure},
    health::Ailment,
    patience::Patience,
    sync::{SyncFailed, SyncRequested, Synced},
    url::GatewayUrl,
};
use crate::ids::{AgentId, GatewayId, OperationId, OrganizationId};

/// What was asked for, as it was parsed. The gateway's token is not here: it is sealed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// The gateway to be.
    pub gateway: GatewayId,
    /// Its owner.
    pub organization_id: OrganizationId,
    /// 1 to 200 characters.
    pub name: String,
    /// Where it listens.
    pub url: GatewayUrl,
    /// Absolute path on the gateway's host, without a trailing slash.
    pub workspace_root: String,
    /// TLS certificates are not checked.
    pub allow_insecure_tls: bool,
    /// `control_ui` mode.
    pub disable_device_pairing: bool,
    /// The main agent; the same for every attempt.
    pub gateway_agent_id: AgentId,
    /// Whether a token was given.
    pub has_token: bool,
    /// How long to try.
    pub patience: Patience,
    /// Who asked, by name.
    pub requested_by: String,
    /// The operation that this starts.
    pub operation: OperationId,
}

/// What a gateway said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// As the gateway writes it.
    pub runtime_version: String,
    /// The protocol that was agreed on: 3 or 4.
    pub protocol: u32,
    /// The scopes that it granted, where it tells them.
    pub scopes: Vec<String>,
    /// From the first byte of the dial to hello.
    pub latency_ms: u64,
}

/// The main agent as it stands on the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MainAgent {
    /// As the gateway returned it.
    pub agent_id: String,
    /// Path on the gateway's host.
    pub workspace: String,
    /// Files that were written.
    pub files_written: Vec<String>,
    /// Files whose content ends AGENTS.md, because the gateway does not take them.
    pub files_moved: Vec<String>,
    /// Files that the gateway does not take and that stand nowhere else.
    pub files_not_taken: Vec<String>,
    /// `list`, `entries` or `none`: the form of the configuration that our entry was written to.
    pub config_form: String,
    /// What became of the first message: `started`, `ok`, or the gateway's error.
    pub wake: String,
}

/// What happened; past tense, never edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// Somebody asked for the gateway.
    #[serde(rename = "GatewayRequested")]
    Requested(Box<Requested>),
    /// An attempt failed and another is scheduled.
    #[serde(rename = "ProvisioningAttemptFailed")]
    AttemptFailed {
        /// Counted from 1.
        attempt: u32,
        /// Where and why.
        #[serde(flatten)]
        failure: Failure,
        /// When the next attempt starts.
        retry_at: DateTime<Utc>,
        /// Whether the agent may be on the gateway now.
        #[serde(default)]
        agent_may_remain: bool,
    },
    /// A person must approve our device on the gateway; it is asked again until then.
    PairingRequired {
        /// Our device.
        device_id: String,
        /// The gateway's request, where it told one.
        request_id: Option<String>,
        /// The command to run on the gateway's host.
        approve: String,
        /// When waiting ends.
        until: DateTime<Utc>,
        /// Whether the agent may be on the gateway now.
        #[serde(default)]
        agent_may_remain: bool,
    },
    /// It is reachable, let us in and is new enough.
    #[serde(rename = "GatewayVerified")]
    Verified(Verified),
    /// Its main agent stands.
    MainAgentProvisioned(MainAgent),
    /// The registration is complete; terminal for its operation.
    #[serde(rename = "GatewayCreated")]
    Created {},
    /// The registration failed; terminal for its operation.
    #[serde(rename = "GatewayCreationFailed")]
    CreationFailed {
        /// Where and why.
        #[serde(flatten)]
        failure: Failure,
        /// The problem code that the caller is told.
        code: Code,
        /// Attempts that were made.
        attempts: u32,
        /// Whether the agent may be on the gateway now.
        #[serde(default)]
        agent_may_remain: bool,
    },
    /// The main agent was removed from the gateway.
    MainAgentRemoved {
        /// As the gateway knows it.
        agent_id: String,
        /// Why it was removed.
        why: String,
    },
    /// The main agent may still be on the gateway; nothing of ours looks after it any more.
    MainAgentLeftBehind {
        /// As the gateway knows it.
        agent_id: String,
        /// Why it could not be removed.
        why: String,
    },
    /// A failed registration is run again with the stored request.
    #[serde(rename = "GatewayCreationRetried")]
    CreationRetried {
        /// The operation that this starts.
        operation: OperationId,
        /// How long to try.
        patience: Patience,
        /// Who asked, by name.
        by: String,
    },
    /// Somebody ended a registration; terminal for its operation.
    #[serde(rename = "GatewayCreationCancelled")]
    CreationCancelled {
        /// The operation that this ends.
        operation: OperationId,
        /// Who, by name.
        by: String,
        /// Why.
        reason: String,
    },
    /// Somebody asked for a change.
    #[serde(rename = "GatewayUpdateRequested")]
    UpdateRequested(Box<UpdateRequested>),
    /// The change took effect; terminal for its operation.
    #[serde(rename = "GatewayUpdated")]
    Updated(Box<Updated>),
    /// The change did not take effect; terminal for its operation.
    #[serde(rename = "GatewayUpdateFailed")]
    UpdateFailed(Box<UpdateFailed>),
    /// Somebody asked for the agents to be written anew.
    #[serde(rename = "TemplateSyncRequested")]
    SyncRequested(SyncRequested),
    /// Every agent was tried; terminal for its operation.
    #[serde(rename = "TemplatesSynced")]
    Synced(Box<Synced>),
    /// No agent could be tried; terminal for its operation.
    #[serde(rename = "TemplateSyncFailed")]
    SyncFailed(Box<SyncFailed>),
    /// Somebody asked for the gateway's removal.
    #[serde(rename = "GatewayDeletionRequested")]
    DeletionRequested {
        /// The operation that this starts.
        operation: OperationId,
        /// How long to try.
        patience: Patience,
        /// Our side is removed even if the gateway cannot be reached.
        force: bool,
        /// Who asked, by name.
        by: String,
    },
    /// The gateway is no longer registered; terminal for its operation.
    #[serde(rename = "GatewayDeleted")]
    Deleted {
        /// Agents that were removed from the gateway.
        removed: Vec<String>,
        /// Agents that may still be on it.
        left: Vec<String>,
        /// Why they were left.
        why: Option<String>,
    },
    /// The gateway could not be removed and stays registered; terminal for its operation.
    #[serde(rename = "GatewayDeletionFailed")]
    DeletionFailed {
        /// Where and why.
        #[serde(flatten)]
        failure: Failure,
        /// The problem code that the caller is told.
        code: Code,
        /// Attempts that were made.
        attempts: u32,
    },
    /// It was not reached several times in a row.
    #[serde(rename = "GatewayWentOffline")]
    WentOffline(Box<Ailment>),
    /// It is there and cannot be used.
    #[serde(rename = "GatewayDegraded")]
    Degraded(Box<Ailment>),
    /// It let us in again.
    #[serde(rename = "GatewayCameOnline")]
    CameOnline {
        /// From the first byte of the dial to hello.
        latency_ms: u64,
    },
    /// It runs another version than it did.
    #[serde(rename = "GatewayVersionChanged")]
    VersionChanged {
        /// What it ran before.
        from: String,
        /// What it says of itself now.
        verified: Verified,
    },
    /// The main agent called, for the first time or after it was missed.
    MainAgentCheckedIn {
        /// When it called.
        at: DateTime<Utc>,
    },
    /// The main agent was woken and did not call in time; it is woken again.
    MainAgentMissedCheckIn {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// The main agent was woken as often as may be, and nobody waits for its call any more.
    MainAgentWentOffline {
        /// How often it was woken again.
        wakes: u32,
        /// Why nobody waits any more, and what to look at.
        why: String,
    },
    /// A sealed secret was erased.
    SecretErased {
        /// Which, for example `gateway token`.
        which: String,
        /// Why.
        why: String,
    },
}

impl Event {
    /// Every stored name, in the order of the variants.
    pub const NAMES: [&'static str; 28] = [
        "GatewayRequested",
        "ProvisioningAttemptFailed",
        "PairingRequired",
        "GatewayVerified",
        "MainAgentProvisioned",
        "GatewayCreated",
        "GatewayCreationFailed",
        "MainAgentRemoved",
        "MainAgentLeftBehind",
        "GatewayCreationRetried",
        "GatewayCreationCancelled",
        "GatewayUpdateRequested",
        "GatewayUpdated",
        "GatewayUpdateFailed",
        "TemplateSyncRequested",
        "TemplatesSynced",
        "TemplateSyncFailed",
        "GatewayDeletionRequested",
        "GatewayDeleted",
        "GatewayDeletionFailed",
        "GatewayWentOffline",
        "GatewayDegraded",
        "GatewayCameOnline",
        "GatewayVersionChanged",
        "MainAgentCheckedIn",
        "MainAgentMissedCheckIn",
        "MainAgentWentOffline",
        "SecretErased",
    ];

    /// Names of those that somebody noticed ([`Self::is_noticed`]).
    pub const NOTICED: [&str; 7] = [
        "GatewayWentOffline",
        "GatewayDegraded",
        "GatewayCameOnline",
        "GatewayVersionChanged",
        "MainAgentCheckedIn",
        "MainAgentMissedCheckIn",
        "MainAgentWentOffline",
    ];

    /// The operation that this begins, if it begins one.
    #[must_use]
    pub fn begins(&self) -> Option<OperationId> {
        match self {
            Self::Requested(requested) => Some(requested.operation),
            Self::UpdateRequested(update) => Some(update.operation),
            Self::SyncRequested(sync) => Some(sync.operation),
            Self::CreationRetried { operation, .. } | Self::DeletionRequested { operation, .. } => {
                Some(*operation)
            }
            Self::AttemptFailed { .. }
            | Self::PairingRequired { .. }
            | Self::Verified(_)
            | Self::MainAgentProvisioned(_)
            | Self::Created {}
            | Self::CreationFailed { .. }
            | Self::MainAgentRemoved { .. }
            | Self::MainAgentLeftBehind { .. }
            | Self::CreationCancelled { .. }
            | Self::Updated(_)
            | Self::UpdateFailed(_)
            | Self::Synced(_)
            | Self::SyncFailed(_)
            | Self::Deleted { .. }
            | Self::DeletionFailed { .. }
            | Self::SecretErased { .. }
            | Self::WentOffline(_)
            | Self::Degraded(_)
            | Self::CameOnline { .. }
            | Self::VersionChanged { .. }
            | Self::MainAgentCheckedIn { .. }
            | Self::MainAgentMissedCheckIn { .. }
            | Self::MainAgentWentOffline { .. } => None,
        }
    }

    /// Whether somebody noticed it, as against what was asked for: it belongs to no operation.
    #[must_use]
    pub const fn is_noticed(&self) -> bool {
        matches!(
            self,
            Self::WentOffline(_)
                | Self::Degraded(_)
                | Self::CameOnline { .. }
                | Self::VersionChanged { .. }
                | Self::MainAgentCheckedIn { .. }
                | Self::MainAgentMissedCheckIn { .. }
                | Self::MainAgentWentOffline { .. }
        )
    }
}
