//! Removes the main agent from the gateway that was left when another URL was set.

use chrono::TimeDelta;
use shared::{
    chain::chain,
    commit::{Commit, SecretChange, Then},
    domain::gateway::{Command, Gateway, failure::Verdict},
    job::{Job, Lease},
    register::left_token_owner,
};

use super::{
    outcome::{Outcome, end, record},
    provision_gateway::order_for,
    read,
};
use crate::{
    config::Deps,
    gateway::remove::remove_agent,
    retry::{CLEAN_UP_LONGEST, backoff},
};

/// After this the agent is recorded as left behind.
const GIVE_UP_AFTER_HOURS: i64 = 24;

/// One delivery.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    let known = match read::gateway(deps, lease).await {
        Ok(Gateway::Known(known)) => known,
        Ok(Gateway::Unknown) => return end(deps, lease, Then::Delete).await,
        Err(error) => {
            tracing::error!(error = chain(&error), "the gateway's stream could not be read; trying again");
            return again(deps, lease).await;
        }
    };
    let Some(before) = known.moved_from.clone().filter(|before| before.url.key() == lease.job.gateway_key)
    else {
        return end(deps, lease, Then::Delete).await;
    };
    // The outcome belongs to whatever was asked for last; the job is the move's.
    let job = Job { operation: known.operation.id, ..lease.job.clone() };
    let lease = &Lease { job, ..lease.clone() };
    let agent_id = before.gateway_agent_id.on_gateway();
    let owner = left_token_owner(before.gateway);
    let order = match order_for(deps, lease, &known, (&before, &owner)).await {
        Ok(order) => order,
        Err(why) => return tell(deps, lease, Command::RecordAgentLeftBehind { agent_id, why }).await,
    };
    match remove_agent(&deps.dialer, &order).await {
        Ok(removed) => {
            tracing::info!(found = removed.found, "the main agent is gone from the gateway that was left");
            let why = format!("the gateway moved from {}", before.url);
            tell(deps, lease, Command::RecordAgentRemoved { agent_id, why }).await;
        }
        Err(failure) => {
            let too_late = deps.clock.now() - lease.job.created_at > TimeDelta::hours(GIVE_UP_AFTER_HOURS);
            if too_late || failure.cause.verdict() != Verdict::Transient {
                let why = failure.detail;
                tracing::warn!(agent = agent_id, why, "an agent was left behind; remove it by hand");
                return tell(deps, lease, Command::RecordAgentLeftBehind { agent_id, why }).await;
            }
            again(deps, lease).await;
        }
    }
}

async fn again(deps: &Deps, lease: &Lease) {
    let at = deps.clock.now() + backoff(lease.job.attempt, CLEAN_UP_LONGEST);
    end(deps, lease, Then::RunAt { at, attempt: lease.job.attempt.saturating_add(1) }).await;
}

async fn tell(deps: &Deps, lease: &Lease, command: Command) {
    let owner = left_token_owner(lease.job.gateway);
    let complete = |commit: &mut Commit| commit.secrets.push(SecretChange::Erase { owner: owner.clone() });
    record(deps, lease, Outcome { command, then: Then::Delete, complete }).await;
}
