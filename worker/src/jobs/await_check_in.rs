//! Looks whether a main agent has called since it was provisioned; if not, has it woken again, or calls it offline.

use shared::{
    chain::chain,
    commit::{Commit, Then},
    domain::gateway::{Command, Gateway, Known, Phase},
    job::{Kind, Lease},
};

use super::{
    outcome::{Outcome, Recorded, end, follow_up, for_last_operation, try_record},
    read,
};
use crate::{config::Deps, retry::BACKOFF_LONGEST};

/// One delivery: the attempt counts the check-ins that were awaited.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    let known = match read::gateway(deps, lease).await {
        Ok(Gateway::Known(known))
            if known.check_in.is_awaited() && matches!(known.phase, Phase::Active(..)) =>
        {
            known
        }
        Ok(_) => return end(deps, lease, Then::Delete).await,
        Err(error) => {
            tracing::error!(error = chain(&error), "the gateway's stream could not be read; trying again");
            return later(deps, lease).await;
        }
    };
    let agent = known.request.gateway_agent_id;
    let called = match read::last_call(deps, agent).await {
        Ok(called) => called,
        Err(error) => {
            tracing::warn!(error = chain(&error), "the agent's calls could not be read; trying again");
            return later(deps, lease).await;
        }
    };
    let wakes = lease.job.attempt.saturating_sub(1);
    let is_last = wakes >= deps.settings.wakes.most;
    let command = match called {
        Some(at) => Command::RecordCheckedIn { at },
        None if is_last => Command::RecordAgentOffline { wakes, why: why(deps, &known, wakes) },
        None => {
            let waited = deps.settings.wakes.wait.as_millis();
            Command::RecordMissedCheckIn { waited_ms: u64::try_from(waited).unwrap_or(u64::MAX) }
        }
    };
    tell((called.is_some(), is_last), wakes);
    let wakes_again = called.is_none() && !is_last;
    let now = deps.clock.now();
    let complete = |commit: &mut Commit| {
        if wakes_again {
            let job = follow_up(lease, Kind::WakeMainAgent, now, now);
            let gateway_key = known.request.url.key();
            commit.jobs.push(shared::job::Job { gateway_key, attempt: lease.job.attempt, ..job });
        }
    };
    let outcome = Outcome { command, then: Then::Delete, complete };
    if try_record(deps, &for_last_operation(lease, &known), outcome).await == Recorded::Refused {
        // Something else was asked for meanwhile; what it made of the gateway is looked at then.
        later(deps, lease).await;
    }
}

fn why(deps: &Deps, known: &Known, wakes: u32) -> String {
    format!(
        "The agent {} was woken {wakes} times after its creation and did not call {}/api/v1/agent/heartbeat. Look \
         whether the gateway's host reaches that address (BASE_URL), and whether the gateway has a model that works.",
        known.request.gateway_agent_id, deps.settings.base_url
    )
}

fn tell((has_called, is_last): (bool, bool), wakes: u32) {
    if has_called {
        tracing::info!("the main agent checked in");
    } else if is_last {
        tracing::warn!(wakes, "the main agent is offline: it did not check in however often it was woken");
    } else {
        tracing::info!(wakes, "the main agent did not check in; it is woken again");
    }
}

async fn later(deps: &Deps, lease: &Lease) {
    end(deps, lease, Then::RunAt { at: deps.clock.now() + BACKOFF_LONGEST, attempt: lease.job.attempt })
        .await;
}
