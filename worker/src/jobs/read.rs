//! What a delivery reads before it dials: again and again while the database is away.
//!
//! To put the job off instead would let whoever waits for it wait for a minute after a second's outage. The delivery
//! ends, as any other, when its lease is lost meanwhile.

use chrono::{DateTime, Utc};
use shared::{
    chain::chain,
    domain::gateway::Gateway,
    execute::load,
    ids::AgentId,
    job::Lease,
    secret::Secret,
    store::{StoreError, insist},
};

use crate::config::Deps;

/// The gateway of a job.
///
/// # Errors
/// Its stream holds what this program does not know.
pub(super) async fn gateway(deps: &Deps, lease: &Lease) -> Result<Gateway, StoreError> {
    insist(|| load(deps.store.as_ref(), lease.job.gateway), StoreError::is_away).await
}

/// A sealed secret, opened; `None` where there is none.
///
/// # Errors
/// It cannot be opened: why, as a text.
pub(super) async fn secret(deps: &Deps, owner: &str) -> Result<Option<Secret>, String> {
    let sealed = insist(|| deps.store.secret(owner), StoreError::is_away).await;
    let sealed = sealed.map_err(|error| chain(&error))?;
    sealed.map(|sealed| deps.vault.open_sealed(owner, &sealed).map_err(|error| chain(&error))).transpose()
}

/// When an agent called last; `None` if it never did.
///
/// # Errors
/// What is stored cannot be read.
pub(super) async fn last_call(deps: &Deps, agent: AgentId) -> Result<Option<DateTime<Utc>>, StoreError> {
    let calls = insist(|| async { deps.store.check_ins(&[agent]).await }, StoreError::is_away).await?;
    Ok(calls.first().map(|(_, at)| *at))
}
