//! Writes the main agent anew after a change that its gateway was away for.

use chrono::TimeDelta;
use shared::{
    chain::chain,
    commit::{Commit, Then},
    domain::gateway::{Command, Gateway, Phase, failure::Verdict},
    job::{Job, Lease},
};

use super::{
    outcome::{Outcome, end, record},
    provision_gateway::{order, written},
    read,
};
use crate::{
    config::Deps,
    gateway::refresh::{Scope, refresh},
    retry::{BACKOFF_LONGEST, CLEAN_UP_LONGEST, backoff},
};

/// After this the agent keeps its old files until something else refreshes it.
const GIVE_UP_AFTER_HOURS: i64 = 24;

/// One delivery.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    let known = match read::gateway(deps, lease).await {
        Ok(Gateway::Known(known)) if known.agent_is_stale && matches!(known.phase, Phase::Active(..)) => {
            known
        }
        Ok(_) => return end(deps, lease, Then::Delete).await,
        Err(error) => {
            tracing::error!(error = chain(&error), "the gateway's stream could not be read; trying again");
            return again(deps, lease).await;
        }
    };
    if !known.is_ended() {
        // What runs now may refresh the agent itself.
        let at = deps.clock.now() + BACKOFF_LONGEST;
        return end(deps, lease, Then::RunAt { at, attempt: lease.job.attempt }).await;
    }
    let order = match order(deps, lease, &known).await {
        Ok(order) => order,
        Err(error) => {
            tracing::error!(error, "the gateway's secrets could not be opened; trying again");
            return again(deps, lease).await;
        }
    };
    match refresh(&deps.dialer, &order, Scope::default()).await {
        Ok(refreshed) => {
            // Whatever was asked for since: the files are those of the gateway as it is now.
            let job = Job { operation: known.operation.id, ..lease.job.clone() };
            let lease = Lease { job, ..lease.clone() };
            let command = Command::RecordAgentRefreshed(written(refreshed.agent));
            let complete = |_: &mut Commit| {};
            record(deps, &lease, Outcome { command, then: Then::Delete, complete }).await;
        }
        Err(failed) => {
            let too_late = deps.clock.now() - lease.job.created_at > TimeDelta::hours(GIVE_UP_AFTER_HOURS);
            if too_late || failed.failure.cause.verdict() == Verdict::NeverRepeat {
                tracing::warn!(why = failed.failure.detail, "the main agent keeps its old files");
                return end(deps, lease, Then::Delete).await;
            }
            again(deps, lease).await;
        }
    }
}

async fn again(deps: &Deps, lease: &Lease) {
    let at = deps.clock.now() + backoff(lease.job.attempt, CLEAN_UP_LONGEST);
    end(deps, lease, Then::RunAt { at, attempt: lease.job.attempt.saturating_add(1) }).await;
}
