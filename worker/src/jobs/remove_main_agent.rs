//! Removes the main agent that a failed registration may have left on its gateway.

use chrono::TimeDelta;
use shared::{
    chain::chain,
    commit::{Commit, Then},
    domain::gateway::{Command, Gateway, Phase, failure::Verdict},
    job::Lease,
};

use super::{
    outcome::{Outcome, end, record},
    provision_gateway::order,
    read,
};
use crate::{
    config::Deps,
    gateway::remove::remove_agent,
    retry::{CLEAN_UP_LONGEST, backoff},
};

/// After this the agent is recorded as left behind; the token is erased then as well.
const GIVE_UP_AFTER_HOURS: i64 = 23;

/// One delivery.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    let known = match read::gateway(deps, lease).await {
        Ok(Gateway::Known(known)) if matches!(known.phase, Phase::Failed { cleaned: false }) => known,
        Ok(_) => return end(deps, lease, Then::Delete).await,
        Err(error) => {
            tracing::error!(error = chain(&error), "the gateway's stream could not be read; trying again");
            return again(deps, lease).await;
        }
    };
    let agent_id = known.request.gateway_agent_id.on_gateway();
    let order = match order(deps, lease, &known).await {
        Ok(order) => order,
        Err(why) => return left_behind(deps, lease, agent_id, why).await,
    };
    match remove_agent(&deps.dialer, &order).await {
        Ok(removed) => {
            tracing::info!(found = removed.found, "the main agent of a failed registration is gone");
            let why = "the registration failed".to_owned();
            let command = Command::RecordAgentRemoved { agent_id, why };
            record(deps, lease, Outcome { command, then: Then::Delete, complete: |_: &mut Commit| {} }).await;
        }
        Err(failure) => {
            let too_late = deps.clock.now() - lease.job.created_at > TimeDelta::hours(GIVE_UP_AFTER_HOURS);
            if too_late || failure.cause.verdict() != Verdict::Transient {
                return left_behind(deps, lease, agent_id, failure.detail).await;
            }
            tracing::info!(stage = %failure.stage, cause = ?failure.cause, "the clean-up failed; trying again");
            again(deps, lease).await;
        }
    }
}

async fn again(deps: &Deps, lease: &Lease) {
    let at = deps.clock.now() + backoff(lease.job.attempt, CLEAN_UP_LONGEST);
    end(deps, lease, Then::RunAt { at, attempt: lease.job.attempt.saturating_add(1) }).await;
}

async fn left_behind(deps: &Deps, lease: &Lease, agent_id: String, why: String) {
    tracing::warn!(agent = agent_id, why, "an agent was left behind on its gateway; remove it by hand");
    let command = Command::RecordAgentLeftBehind { agent_id, why };
    record(deps, lease, Outcome { command, then: Then::Delete, complete: |_: &mut Commit| {} }).await;
}
