//! Sends a main agent that did not check in its first message again, and has its check-in awaited.

use shared::{
    chain::chain,
    commit::{Commit, Then},
    domain::gateway::{Command, Gateway, Known, Phase, failure::Verdict},
    job::{Job, Kind, Lease},
};

use super::{
    outcome::{Outcome, Recorded, end, end_with, follow_up, for_last_operation, try_record},
    provision_gateway::order,
    read,
};
use crate::{config::Deps, gateway::wake::wake, retry::BACKOFF_LONGEST};

/// One delivery. A wake that does not arrive counts as one: what keeps it away keeps the agent away.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    let known = match read::gateway(deps, lease).await {
        Ok(Gateway::Known(known)) if known.check_in.is_awaited() => known,
        Ok(_) => return end(deps, lease, Then::Delete).await,
        Err(error) => {
            tracing::error!(error = chain(&error), "the gateway's stream could not be read; trying again");
            return later(deps, lease).await;
        }
    };
    let Phase::Active(_, agent) = &known.phase else { return end(deps, lease, Then::Delete).await };
    if !known.is_ended() {
        // What runs now may restart the gateway, or wake the agent itself.
        return later(deps, lease).await;
    }
    if known.is_refused() {
        let why = "The gateway refused our credential, so the agent is not woken again.".to_owned();
        return give_up(deps, lease, (&known, why)).await;
    }
    let order = match order(deps, lease, &known).await {
        Ok(order) => order,
        Err(error) => {
            tracing::error!(error, "the gateway's secrets could not be opened; trying again");
            return later(deps, lease).await;
        }
    };
    // The same for each delivery of this job, so that the gateway takes it once.
    let key = format!("mission-control-wake-{}", lease.job.id);
    match wake(&deps.dialer, &order, (&agent.agent_id, &key)).await {
        Ok(answer) => tracing::info!(answer, wake = lease.job.attempt, "main agent woken again"),
        Err(failure) if failure.cause.verdict() == Verdict::NeverRepeat => {
            return give_up(deps, lease, (&known, failure.detail)).await;
        }
        Err(failure) => tracing::warn!(why = failure.detail, "the main agent could not be woken"),
    }
    let now = deps.clock.now();
    let job = follow_up(lease, Kind::AwaitCheckIn, now, now + deps.settings.wakes.wait);
    end_with(deps, lease, (Then::Delete, vec![Job { attempt: lease.job.attempt.saturating_add(1), ..job }]))
        .await;
}

async fn give_up(deps: &Deps, lease: &Lease, (known, why): (&Known, String)) {
    tracing::warn!(why, "the main agent is offline");
    let command = Command::RecordAgentOffline { wakes: lease.job.attempt.saturating_sub(1), why };
    let outcome = Outcome { command, then: Then::Delete, complete: |_: &mut Commit| {} };
    if try_record(deps, &for_last_operation(lease, known), outcome).await == Recorded::Refused {
        later(deps, lease).await;
    }
}

async fn later(deps: &Deps, lease: &Lease) {
    end(deps, lease, Then::RunAt { at: deps.clock.now() + BACKOFF_LONGEST, attempt: lease.job.attempt })
        .await;
}
