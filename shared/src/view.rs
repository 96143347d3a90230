//! Read models: pure functions of events, written in the transaction of the events and rebuilt by the same functions.

mod installation;
mod sync;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    clock::rfc3339,
    domain::{
        gateway::{
            CheckIn, End, Gateway, Kind, Known, Phase,
            failure::{Code, Failure},
        },
        organization::{self, Role},
    },
    ids::{AgentId, GatewayId, MemberId, OperationId, OrganizationId, TokenId},
    problem::Problem,
};

pub use installation::{organization_rows, queue_rows};
pub use sync::{SyncError, SyncRead};

/// A row of a read model; one per table and id, the last one written wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A registered gateway. Written from `GatewayCreated` on.
    Gateway {
        /// Its id.
        id: GatewayId,
        /// Whose.
        organization: OrganizationId,
        /// Sorts lists, newest first.
        created_at: DateTime<Utc>,
        /// JSON of a [`GatewayRead`].
        document: String,
    },
    /// A gateway that is no longer registered, and its main agent.
    GatewayGone {
        /// Its id.
        id: GatewayId,
        /// The agent's id.
        agent: AgentId,
    },
    /// An operation.
    Operation {
        /// Its id.
        id: OperationId,
        /// Whose.
        organization: OrganizationId,
        /// For which gateway.
        gateway: GatewayId,
        /// `pending`, `awaiting_pairing`, `succeeded`, `failed` or `cancelled`.
        status: &'static str,
        /// Sorts lists, newest first.
        created_at: DateTime<Utc>,
        /// JSON of an [`OperationRead`].
        document: String,
    },
    /// A main agent.
    Agent {
        /// Its id.
        id: AgentId,
        /// Whose.
        organization: OrganizationId,
        /// On which gateway.
        gateway: GatewayId,
        /// Sorts lists, newest first.
        created_at: DateTime<Utc>,
        /// JSON of an [`AgentRead`].
        document: String,
    },
    /// An organization.
    Organization {
        /// Its id.
        id: OrganizationId,
        /// What people call it.
        name: String,
        /// When it was founded.
        created_at: DateTime<Utc>,
    },
    /// A member; `None` once it was removed.
    Member {
        /// Its id.
        id: MemberId,
        /// Whose.
        organization: OrganizationId,
        /// Name and role.
        member: Option<(String, Role)>,
    },
    /// An API token; `None` once it was revoked.
    Token {
        /// Its id.
        id: TokenId,
        /// Whose; `None` for the operator's own.
        organization: Option<OrganizationId>,
        /// What it may do.
        token: Option<organization::Token>,
    },
    /// The queue is paused since then, by somebody, for a reason; `None` once it runs again.
    QueuePause(Option<(DateTime<Utc>, String, String)>),
    /// A worker takes no more jobs since then, because of somebody, for a reason; `None` once it may again.
    WorkerDrain {
        /// Which.
        worker: String,
        /// Since when, by whom, why.
        drain: Option<(DateTime<Utc>, String, String)>,
    },
}

/// A gateway as every endpoint shows it: the ten documented fields first, in the documented order, then ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatewayRead {
    /// UUID.
    #[schema(value_type = String, format = Uuid)]
    pub id: GatewayId,
    /// `org-` and a UUID.
    #[schema(value_type = String, pattern = "^org-[0-9a-f-]{36}$")]
    pub organization_id: OrganizationId,
    /// As it was given, trimmed.
    pub name: String,
    /// As it was given.
    pub url: String,
    /// Absolute path on the gateway's host.
    pub workspace_root: String,
    /// `agent-` and a ULID.
    #[schema(value_type = String, pattern = "^agent-[0-9A-Z]{26}$")]
    pub gateway_agent_id: AgentId,
    /// TLS certificates are not checked.
    pub allow_insecure_tls: bool,
    /// `control_ui` mode.
    pub disable_device_pairing: bool,
    /// When it was asked for.
    pub created_at: String,
    /// When one of the fields above last changed.
    pub updated_at: String,
    /// `active`; `degraded`: it is there and cannot be used; `offline`: it was not reached three times in a row; or
    /// `deleting`.
    pub status: String,
    /// As the gateway told it.
    pub runtime_version: Option<String>,
    /// Whether a gateway token is kept.
    pub has_token: bool,
    /// Why it cannot be used now, or else why the last change failed.
    pub last_error: Option<String>,
    /// The stream's version, and the entity tag.
    pub revision: u64,
}

/// An operation as it is stored; `running` is added when it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationRead {
    /// UUID.
    #[schema(value_type = String, format = Uuid)]
    pub id: OperationId,
    /// `create_gateway`, `update_gateway`, `sync_templates` or `delete_gateway`.
    pub kind: String,
    /// `pending`, `running`, `awaiting_pairing`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// The gateway concerned.
    #[schema(value_type = String, format = Uuid)]
    pub gateway_id: GatewayId,
    /// Attempts that ended.
    pub attempts: u32,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// What a waiting client would have received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<OperationResult>,
    /// What a waiting client would have received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// What a succeeded operation answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OperationResult {
    /// The gateway, as it was then.
    Gateway(Box<GatewayRead>),
    /// What became of the agents.
    Synced(SyncRead),
    /// It is done, and there is nothing to show.
    Done(Done),
}

/// What a deletion answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Always true.
    pub ok: bool,
}

impl OperationRead {
    /// Whether the outcome is known.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        is_finished(&self.status)
    }
}

/// Whether an operation of this status has its outcome.
#[must_use]
pub fn is_finished(status: &str) -> bool {
    matches!(status, "succeeded" | "failed" | "cancelled")
}

/// What was last seen of a gateway. Not an event and no projection: nobody needs to know every look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Observation {
    /// Whether the last look reached it; null if nobody has looked yet.
    #[schema(required)]
    pub connected: Option<bool>,
    /// Where it was looked for.
    pub gateway_url: String,
    /// Its version.
    #[schema(required)]
    pub runtime_version: Option<String>,
    /// The protocol that was agreed on.
    #[schema(required)]
    pub protocol: Option<u32>,
    /// From connect to hello.
    #[schema(required)]
    pub latency_ms: Option<u64>,
    /// How many sessions it has.
    #[schema(required)]
    pub sessions_count: Option<u64>,
    /// The key of the main agent's session, if it is there.
    #[schema(required)]
    pub main_session: Option<String>,
    /// Why it could not be reached, and what to do.
    #[schema(required)]
    pub error: Option<String>,
    /// At which step.
    #[schema(required)]
    pub stage: Option<String>,
    /// When it was last reached.
    #[schema(required)]
    pub last_seen_at: Option<String>,
    /// When this was seen.
    #[schema(required)]
    pub checked_at: Option<String>,
}

/// An observation as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// What is shown of it.
    #[serde(flatten)]
    pub observation: Observation,
    /// The gateway refused the credential: it is not asked again for a while.
    pub refused: bool,
}

/// A main agent as it is stored; what is merely observed is added when it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentRead {
    /// The `gateway_agent_id`.
    #[schema(value_type = String, pattern = "^agent-[0-9A-Z]{26}$")]
    pub id: AgentId,
    /// On which gateway.
    #[schema(value_type = String, format = Uuid)]
    pub gateway_id: GatewayId,
    /// Always null: there are no boards yet.
    pub board_id: Option<String>,
    /// Always true.
    pub is_gateway_main: bool,
    /// What people call it.
    pub name: String,
    /// `provisioned`: we wrote it; `checked_in`: it called as well; `missed_check_in`: it was woken, did not call, and is
    /// woken again; `offline`: it did not call however often it was woken.
    pub status: String,
    /// RFC 3339.
    pub provisioned_at: String,
    /// RFC 3339, its last call; null until it checks in.
    pub checked_in_at: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// The rows that follow from a gateway's state: its last operation, and itself while it is registered.
///
/// # Errors
///
/// A JSON error, which for our own types would be a bug.
pub fn gateway_rows(gateway: &Gateway) -> Result<Vec<Row>, serde_json::Error> {
    let Gateway::Known(known) = gateway else { return Ok(vec![]) };
    let organization = known.request.organization_id;
    let mut rows = Vec::from_iter(operation_row(gateway)?);
    let (id, agent) = (known.request.gateway, known.request.gateway_agent_id);
    if let Some(read) = gateway_read(known) {
        let (created_at, document) = (known.requested_at, serde_json::to_string(&read)?);
        rows.push(Row::Gateway { id, organization, created_at, document });
        let document = serde_json::to_string(&agent_read(known))?;
        rows.push(Row::Agent { id: agent, organization, gateway: id, created_at, document });
    }
    if known.phase == Phase::Deleted {
        rows.push(Row::GatewayGone { id, agent });
    }
    Ok(rows)
}

/// The row of a gateway's last operation, unless it was the outcome of an earlier event.
///
/// # Errors
///
/// A JSON error, which for our own types would be a bug.
pub fn operation_row(gateway: &Gateway) -> Result<Option<Row>, serde_json::Error> {
    // What was answered stays what was answered, whatever becomes of the gateway later.
    let Gateway::Known(known) = gateway else { return Ok(None) };
    if known.operation.ended_at.is_some() && !known.has_just_ended() {
        return Ok(None);
    }
    let status = status(known);
    Ok(Some(Row::Operation {
        id: known.operation.id,
        organization: known.request.organization_id,
        gateway: known.request.gateway,
        status,
        created_at: known.operation.requested_at,
        document: serde_json::to_string(&operation(known, status))?,
    }))
}

fn status(known: &Known) -> &'static str {
    match (&known.operation.end, &known.phase) {
        (End::Open, Phase::AwaitingPairing { .. }) => "awaiting_pairing",
        (End::Open, _) => "pending",
        (End::Succeeded, _) => "succeeded",
        (End::Failed(..), _) => "failed",
        (End::Cancelled { .. }, _) => "cancelled",
    }
}

/// The gateway as it is shown; `None` before `GatewayCreated`, after a failed creation, and once it is deleted.
#[must_use]
pub fn gateway_read(known: &Known) -> Option<GatewayRead> {
    let (verified, status) = match &known.phase {
        Phase::Active(verified, _) => (verified, known.health().status()),
        Phase::Deleting { verified, .. } => (verified, "deleting"),
        Phase::Requested
        | Phase::AwaitingPairing { .. }
        | Phase::Verified(_)
        | Phase::Provisioned(..)
        | Phase::Failed { .. }
        | Phase::Deleted => return None,
    };
    let last_error = match (&known.ailment, &known.operation.end) {
        (Some((_, failure)), _) | (None, End::Failed(failure, _)) => Some(failure.detail.clone()),
        (None, End::Open | End::Succeeded | End::Cancelled { .. }) => None,
    };
    let request = &known.request;
    Some(GatewayRead {
        id: request.gateway,
        organization_id: request.organization_id,
        name: request.name.clone(),
        url: request.url.to_string(),
        workspace_root: request.workspace_root.clone(),
        gateway_agent_id: request.gateway_agent_id,
        allow_insecure_tls: request.allow_insecure_tls,
        disable_device_pairing: request.disable_device_pairing,
        created_at: rfc3339(known.requested_at),
        updated_at: rfc3339(known.changed_at),
        status: status.to_owned(),
        runtime_version: Some(verified.runtime_version.clone()),
        has_token: request.has_token,
        last_error,
        revision: known.revision,
    })
}

fn agent_read(known: &Known) -> AgentRead {
    let provisioned_at = rfc3339(known.provisioned_at.unwrap_or(known.requested_at));
    let checked_in_at = match known.check_in {
        CheckIn::In { at } => Some(rfc3339(at)),
        CheckIn::Expected | CheckIn::Missed | CheckIn::Offline => None,
    };
    AgentRead {
        id: known.request.gateway_agent_id,
        gateway_id: known.request.gateway,
        board_id: None,
        is_gateway_main: true,
        name: format!("{} main agent", known.request.name),
        status: known.check_in.status().to_owned(),
        provisioned_at: provisioned_at.clone(),
        checked_in_at,
        created_at: rfc3339(known.requested_at),
        updated_at: rfc3339(known.changed_at.max(known.provisioned_at.unwrap_or(known.requested_at))),
    }
}

fn operation(known: &Known, status: &str) -> OperationRead {
    let operation = &known.operation;
    let error = match &operation.end {
        End::Failed(failure, code) => Some(problem(known, failure, *code)),
        End::Cancelled { by, reason } => Some(cancelled(known, by, reason)),
        End::Open | End::Succeeded => None,
    };
    let result = match (&operation.end, operation.kind) {
        (End::Succeeded, Kind::Create | Kind::Update) => {
            gateway_read(known).map(|read| OperationResult::Gateway(Box::new(read)))
        }
        (End::Succeeded, Kind::Sync) => sync::sync_read(known).map(OperationResult::Synced),
        (End::Succeeded, Kind::Delete) => Some(OperationResult::Done(Done { ok: true })),
        (End::Open | End::Failed(..) | End::Cancelled { .. }, _) => None,
    };
    OperationRead {
        id: operation.id,
        kind: operation.kind.as_str().to_owned(),
        status: status.to_owned(),
        gateway_id: known.request.gateway,
        attempts: operation.attempts,
        created_at: rfc3339(operation.requested_at),
        updated_at: rfc3339(operation.progressed_at),
        result,
        error,
    }
}

fn problem(known: &Known, failure: &Failure, code: Code) -> Problem {
    let versioned = code == Code::GatewayVersionUnsupported || failure.runtime_version.is_some();
    Problem {
        stage: Some(failure.stage.to_string()),
        runtime_version: versioned.then(|| failure.runtime_version.clone()),
        minimum_version: failure.minimum_version.clone(),
        device_id: failure.device_id.clone(),
        pairing_request_id: failure.pairing_request_id.clone(),
        ..about(known, Problem::new(code.as_str(), code.status(), title(code), failure.detail.clone()))
    }
}

/// Title of the problem that a client gets who waited for an operation that was cancelled.
pub const CANCELLED: &str = "Operation was cancelled";

fn cancelled(known: &Known, by: &str, reason: &str) -> Problem {
    let detail = format!("The operation was cancelled by {by}: {reason}.");
    about(known, Problem::new("operation_cancelled", 409, CANCELLED, detail))
}

fn about(known: &Known, problem: Problem) -> Problem {
    let operation = &known.operation;
    Problem {
        instance: format!("/api/v1/operations/{}", operation.id),
        request_id: operation.request_id.clone(),
        gateway_id: Some(known.request.gateway.to_string()),
        operation: Some(operation.id.to_string()),
        ..problem
    }
}

/// The title of a gateway problem.
#[must_use]
pub const fn title(code: Code) -> &'static str {
    match code {
        Code::GatewayUnreachable => "Gateway is unreachable",
        Code::GatewayTimeout => "Gateway does not answer in time",
        Code::GatewayTlsFailed => "TLS with the gateway failed",
        Code::GatewayAuthFailed => "Gateway refused the credential",
        Code::GatewayPairingRequired => "Gateway wants this device approved",
        Code::GatewayScopeMissing => "Gateway did not grant a needed scope",
        Code::GatewayOriginRejected => "Gateway refused the origin",
        Code::GatewayProtocolError => "Not a gateway, or one with another protocol",
        Code::GatewayProvisioningFailed => "Gateway refused a provisioning step",
        Code::GatewayAddressRefused => "Address is not allowed",
        Code::GatewayVersionUnsupported => "Gateway version is not supported",
    }
}
