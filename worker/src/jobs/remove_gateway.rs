//! Removes a registered gateway: its main agent from the gateway, then our side.

use shared::{
    chain::chain,
    commit::{Commit, CredentialChange, SecretChange, Then},
    domain::gateway::{Command, Gateway, Known, Phase, failure::Failure},
    job::Lease,
    register::secret_owners,
};

use super::{
    outcome::{Outcome, end, record},
    provision_gateway::order,
    read,
};
use crate::{
    config::Deps,
    gateway::remove::remove_agent,
    retry::{CLEAN_UP_LONGEST, Next, Round, next},
};

/// One delivery.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    let known = match read::gateway(deps, lease).await {
        Ok(Gateway::Known(known)) if !known.is_ended() => known,
        Ok(_) => return end(deps, lease, Then::Delete).await,
        Err(error) => {
            tracing::error!(error = chain(&error), "the gateway's stream could not be read; trying again");
            let at = deps.clock.now() + CLEAN_UP_LONGEST;
            return end(deps, lease, Then::RunAt { at, attempt: lease.job.attempt }).await;
        }
    };
    let Phase::Deleting { agent, force, .. } = &known.phase else {
        return end(deps, lease, Then::Delete).await;
    };
    let agent_id = agent.agent_id.clone();
    let order = match order(deps, lease, &known).await {
        Ok(order) => order,
        Err(error) => {
            tracing::error!(error, "the gateway's secrets could not be opened; trying again");
            let at = deps.clock.now() + CLEAN_UP_LONGEST;
            return end(deps, lease, Then::RunAt { at, attempt: lease.job.attempt }).await;
        }
    };
    match remove_agent(&deps.dialer, &order).await {
        Ok(removed) => {
            tracing::info!(found = removed.found, "the main agent is gone; so is the gateway");
            let removed = if removed.found { vec![agent_id] } else { vec![] };
            deleted(deps, lease, &known, Command::RecordDeleted { removed, left: vec![], why: None }).await;
        }
        Err(failure) if *force => {
            tracing::warn!(agent = agent_id, why = failure.detail, "an agent was left behind on its gateway");
            let command =
                Command::RecordDeleted { removed: vec![], left: vec![agent_id], why: Some(failure.detail) };
            deleted(deps, lease, &known, command).await;
        }
        Err(failure) => failed(deps, lease, &known, failure).await,
    }
}

async fn deleted(deps: &Deps, lease: &Lease, known: &Known, command: Command) {
    let request = &known.request;
    let complete = |commit: &mut Commit| {
        let owners = secret_owners(request.gateway);
        commit.secrets.extend(owners.map(|owner| SecretChange::Erase { owner }));
        commit.credentials.push(CredentialChange::Erase { subject: request.gateway_agent_id.to_string() });
    };
    record(deps, lease, Outcome { command, then: Then::Delete, complete }).await;
}

async fn failed(deps: &Deps, lease: &Lease, known: &Known, failure: Failure) {
    let attempt = lease.job.attempt;
    tracing::info!(stage = %failure.stage, cause = ?failure.cause, detail = failure.detail, "removal failed");
    let elapsed = known.operation.tried_for(deps.clock.now());
    let round = Round { attempt, elapsed, jitter: rand::random(), asked: None };
    let (command, then) = match next(failure.cause, known.operation.patience, round) {
        Next::Retry(delay) => {
            let retry_at = deps.clock.now() + delay;
            let command = Command::RecordAttemptFailed { attempt, failure, retry_at, agent_may_remain: true };
            (command, Then::RunAt { at: retry_at, attempt: attempt + 1 })
        }
        Next::AwaitApproval | Next::GiveUp => {
            (Command::RecordDeletionFailed { failure, attempts: attempt }, Then::Delete)
        }
    };
    record(deps, lease, Outcome { command, then, complete: |_: &mut Commit| {} }).await;
}
