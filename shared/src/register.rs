//! What a POST of a gateway does once it is parsed: the event, its job and its secrets in one commit.

use chrono::TimeDelta;

use crate::{
    clock::Clock,
    commit::{Commit, KeyClaim, SecretChange},
    domain::gateway::{Event, Gateway, Known, event::Requested, patience::Patience, url::GatewayUrl},
    execute::{Context, ExecuteError, build},
    ids::{AgentId, GatewayId, JobId, OperationId, OrganizationId},
    job::{Job, Kind},
    secret::Secret,
    store::{CommitError, Store},
    token,
    vault::{Vault, VaultError},
};

/// A request that was parsed and found valid.
#[derive(Debug, Clone)]
pub struct Registration {
    /// 1 to 200 characters.
    pub name: String,
    /// Where it listens.
    pub url: GatewayUrl,
    /// Absolute, without a trailing slash.
    pub workspace_root: String,
    /// The gateway's token.
    pub token: Option<Secret>,
    /// TLS certificates are not checked.
    pub allow_insecure_tls: bool,
    /// `control_ui` mode.
    pub disable_device_pairing: bool,
    /// How long to try.
    pub patience: Patience,
}

/// What was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The operation.
    pub operation: OperationId,
    /// The gateway to be.
    pub gateway: GatewayId,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The store said no.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A secret could not be sealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The commit could not be built, which would be a bug.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

/// What is needed to write: the store, the time, the key.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// Where it is written.
    pub store: &'a dyn Store,
    /// When.
    pub clock: &'a dyn Clock,
    /// Seals the tokens.
    pub vault: &'a Vault,
}

impl std::fmt::Debug for Desk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

/// Owner of a gateway's sealed token.
#[must_use]
pub fn gateway_token_owner(gateway: GatewayId) -> String {
    format!("gateway-{gateway}/token")
}

/// Owner of a main agent's sealed token.
#[must_use]
pub fn agent_token_owner(gateway: GatewayId) -> String {
    format!("gateway-{gateway}/agent-token")
}

/// Owner of the device token that a gateway issued to us.
#[must_use]
pub fn device_token_owner(gateway: GatewayId) -> String {
    format!("gateway-{gateway}/device-token")
}

/// Owner of a token that is being tried.
#[must_use]
pub fn new_token_owner(gateway: GatewayId) -> String {
    format!("gateway-{gateway}/new-token")
}

/// Owner of an agent's token that is not accepted yet.
#[must_use]
pub fn new_agent_token_owner(gateway: GatewayId) -> String {
    format!("gateway-{gateway}/new-agent-token")
}

/// Owner of the token of a gateway that was left, while its agent is still to be removed there.
#[must_use]
pub fn left_token_owner(gateway: GatewayId) -> String {
    format!("gateway-{gateway}/left-token")
}

/// Owners of everything that is sealed for a gateway.
#[must_use]
pub fn secret_owners(gateway: GatewayId) -> [String; 6] {
    [
        gateway_token_owner(gateway),
        agent_token_owner(gateway),
        device_token_owner(gateway),
        new_token_owner(gateway),
        new_agent_token_owner(gateway),
        left_token_owner(gateway),
    ]
}

/// Adds the jobs that follow a cancellation.
///
/// An agent that an earlier attempt may have created is removed, and the tokens are kept for a day. A worker that is
/// in the middle of an attempt removes itself what it has created.
pub fn after_cancel(commit: &mut Commit, known: &Known, context: &Context) {
    let now = commit.recorded_at;
    let job = |kind, run_at, gateway_key| Job {
        id: JobId::mint(now),
        kind,
        gateway: known.request.gateway,
        operation: known.operation.id,
        gateway_key,
        run_at,
        attempt: 1,
        created_at: now,
        traceparent: context.traceparent.clone(),
    };
    if commit.events.is_empty() {
        return;
    }
    if known.agent_may_exist {
        commit.jobs.push(job(Kind::RemoveMainAgent, now, known.request.url.key()));
    }
    let erase_at = now + TimeDelta::hours(TOKEN_KEPT_HOURS);
    commit.jobs.push(job(Kind::EraseToken, erase_at, format!("erase:{}", known.request.gateway)));
}

/// How long a failed registration keeps its tokens for a retry.
pub const TOKEN_KEPT_HOURS: i64 = 24;

/// Records the request and enqueues its job in one commit. The caller mints the operation, so that it can wait for it
/// before anything is written.
///
/// # Errors
///
/// [`RegisterError::Commit`] with `KeyTaken` if the idempotency key was used before, or if the database failed.
pub async fn register(
    desk: Desk<'_>,
    organization: OrganizationId,
    registration: Registration,
    (operation, key): (OperationId, Option<KeyClaim>),
    context: &Context,
) -> Result<Registered, RegisterError> {
    let at = desk.clock.now();
    let gateway = GatewayId::mint(at);
    let gateway_key = registration.url.key();
    let requested = Requested {
        gateway,
        organization_id: organization,
        name: registration.name,
        url: registration.url,
        workspace_root: registration.workspace_root,
        allow_insecure_tls: registration.allow_insecure_tls,
        disable_device_pairing: registration.disable_device_pairing,
        gateway_agent_id: AgentId::mint(at),
        has_token: registration.token.is_some(),
        patience: registration.patience,
        requested_by: context.actor.name.clone(),
        operation,
    };
    let event = Event::Requested(Box::new(requested));
    let mut commit = build(desk.clock, (gateway, Gateway::Unknown), &[event], context)?;
    commit.jobs.push(Job {
        id: JobId::mint(at),
        kind: Kind::ProvisionGateway,
        gateway,
        operation,
        gateway_key,
        run_at: commit.recorded_at,
        attempt: 1,
        created_at: commit.recorded_at,
        traceparent: context.traceparent.clone(),
    });
    let owner = agent_token_owner(gateway);
    let sealed = desk.vault.seal(&owner, &token::agent())?;
    commit.secrets.push(SecretChange::Put { owner, sealed });
    if let Some(token) = &registration.token {
        let owner = gateway_token_owner(gateway);
        let sealed = desk.vault.seal(&owner, token)?;
        commit.secrets.push(SecretChange::Put { owner, sealed });
    }
    commit.key = key;
    desk.store.commit(commit).await?;
    Ok(Registered { operation, gateway })
}
