//! Tries a change of a registered gateway, and lets it take effect; the old configuration serves until then.

use shared::{
    chain::chain,
    commit::{Commit, SecretChange, Then},
    domain::gateway::{
        Command, Gateway, Known,
        change::{Changes, TokenChange, Updated},
        event::Requested,
        failure::Verdict,
    },
    job::{Job, Kind, Lease},
    register::{device_token_owner, gateway_token_owner, left_token_owner, new_token_owner},
};

use super::{
    outcome::{Outcome, end, follow_up, record},
    provision_gateway::{order_for, told, written},
    read,
};
use crate::{
    config::Deps,
    gateway::{
        provision::Order,
        refresh::{NotRefreshed, Refreshed, Scope, refresh},
    },
    retry::{BACKOFF_LONGEST, CLEAN_UP_LONGEST, Next, Round, next},
};

/// One delivery.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    let known = match read::gateway(deps, lease).await {
        Ok(Gateway::Known(known)) if known.operation.id == lease.job.operation && !known.is_ended() => known,
        Ok(_) => return end(deps, lease, Then::Delete).await,
        Err(error) => {
            tracing::error!(error = chain(&error), "the gateway's stream could not be read; trying again");
            return later(deps, lease).await;
        }
    };
    let Some(changes) = known.changes.clone() else { return end(deps, lease, Then::Delete).await };
    let request = changes.applied(&known.request);
    let owner = match changes.token {
        Some(TokenChange::Set) => new_token_owner(request.gateway),
        Some(TokenChange::Cleared) | None => gateway_token_owner(request.gateway),
    };
    let order = match order_for(deps, lease, &known, (&request, &owner)).await {
        // What was issued to our device would let us in, and the new token be taken untried.
        Ok(order) if changes.token == Some(TokenChange::Set) => Order { device_token: None, ..order },
        Ok(order) => order,
        Err(error) => {
            tracing::error!(error, "the gateway's secrets could not be opened; trying again");
            return later(deps, lease).await;
        }
    };
    let moves = changes.url.as_ref().is_some_and(|url| url.key() != known.request.url.key());
    let scope = Scope { moves, workspace: changes.workspace_root.is_some(), ..Scope::default() };
    match refresh(&deps.dialer, &order, scope).await {
        Ok(refreshed) => succeed(deps, lease, &known, (changes, moves, refreshed)).await,
        Err(failed) if changes.is_tried_first() => fail(deps, lease, &known, failed).await,
        Err(failed) => rename(deps, lease, changes, failed).await,
    }
}

async fn later(deps: &Deps, lease: &Lease) {
    let at = deps.clock.now() + CLEAN_UP_LONGEST;
    end(deps, lease, Then::RunAt { at, attempt: lease.job.attempt }).await;
}

async fn succeed(
    deps: &Deps,
    lease: &Lease,
    known: &Known,
    (changes, moves, refreshed): (Changes, bool, Refreshed),
) {
    // An agent that was there already is the same agent under another address: it must not be removed.
    let key = |request: &Requested| request.url.key();
    let is_back =
        known.moved_from.as_ref().is_some_and(|before| key(before) == key(&changes.applied(&known.request)));
    let is_another = refreshed.created || is_back;
    let leaves = (moves && is_another).then(|| known.request.gateway_agent_id.on_gateway());
    if moves && !is_another {
        tracing::warn!("the agent is on the new address already; none is removed from the old one");
    }
    let secrets = match secrets(deps, known, &changes, leaves.is_some()).await {
        Ok(secrets) => secrets,
        Err(error) => {
            tracing::error!(error, "the gateway's secrets could not be sealed anew; trying again");
            return later(deps, lease).await;
        }
    };
    let now = deps.clock.now();
    let clean_up = leaves.is_some().then(|| Job {
        gateway_key: known.request.url.key(),
        ..follow_up(lease, Kind::RemoveMovedAgent, now, now)
    });
    let complete = |commit: &mut Commit| {
        commit.secrets.extend(secrets.iter().cloned());
        commit.jobs.extend(clean_up.clone());
    };
    let (verified, agent) = (Some(told(refreshed.verified)), Some(written(refreshed.agent)));
    let command = Command::RecordUpdated(Box::new(Updated { changes, verified, agent, leaves }));
    record(deps, lease, Outcome { command, then: Then::Delete, complete }).await;
}

/// What becomes of the sealed tokens when the change takes effect.
async fn secrets(
    deps: &Deps,
    known: &Known,
    changes: &Changes,
    leaves: bool,
) -> Result<Vec<SecretChange>, String> {
    let gateway = known.request.gateway;
    let mut secrets = vec![];
    let mut moved = Vec::from(match changes.token {
        Some(TokenChange::Set) => [Some((new_token_owner(gateway), gateway_token_owner(gateway))), None],
        Some(TokenChange::Cleared) | None => [None, None],
    });
    if leaves {
        moved.push(Some((gateway_token_owner(gateway), left_token_owner(gateway))));
    }
    for (from, to) in moved.into_iter().flatten() {
        if let Some(secret) = read::secret(deps, &from).await? {
            let sealed = deps.vault.seal(&to, &secret).map_err(|error| chain(&error))?;
            secrets.push(SecretChange::Put { owner: to, sealed });
        }
    }
    let mut erased = vec![new_token_owner(gateway)];
    if changes.token == Some(TokenChange::Cleared) {
        erased.push(gateway_token_owner(gateway));
    }
    if changes.url.is_some() {
        erased.push(device_token_owner(gateway));
    }
    secrets.extend(erased.into_iter().map(|owner| SecretChange::Erase { owner }));
    Ok(secrets)
}

/// A name is ours alone: it changes although the gateway was not reached, and the agent learns it later.
async fn rename(deps: &Deps, lease: &Lease, changes: Changes, failed: NotRefreshed) {
    let failure = failed.failure;
    tracing::info!(stage = %failure.stage, cause = ?failure.cause, "the name changed; the agent is refreshed later");
    let may_dial = failure.cause.verdict() != Verdict::NeverRepeat;
    let now = deps.clock.now();
    let complete = |commit: &mut Commit| {
        if may_dial {
            commit.jobs.push(follow_up(lease, Kind::RefreshMainAgent, now, now + BACKOFF_LONGEST));
        }
    };
    let updated = Updated { changes, verified: None, agent: None, leaves: None };
    let command = Command::RecordUpdated(Box::new(updated));
    record(deps, lease, Outcome { command, then: Then::Delete, complete }).await;
}

async fn fail(deps: &Deps, lease: &Lease, known: &Known, failed: NotRefreshed) {
    let attempt = lease.job.attempt;
    let NotRefreshed { failure, retry_after, left_behind, .. } = failed;
    tracing::info!(stage = %failure.stage, cause = ?failure.cause, detail = failure.detail, "the change failed");
    let elapsed = known.operation.tried_for(deps.clock.now());
    let round = Round { attempt, elapsed, jitter: rand::random(), asked: retry_after };
    if let Next::Retry(delay) = next(failure.cause, known.operation.patience, round) {
        let retry_at = deps.clock.now() + delay;
        let command = Command::RecordAttemptFailed { attempt, failure, retry_at, agent_may_remain: true };
        let then = Then::RunAt { at: retry_at, attempt: attempt + 1 };
        return record(deps, lease, Outcome { command, then, complete: |_: &mut Commit| {} }).await;
    }
    let complete = |commit: &mut Commit| {
        commit.secrets.push(SecretChange::Erase { owner: new_token_owner(lease.job.gateway) });
    };
    let command = Command::RecordUpdateFailed { failure, attempts: attempt, left_behind };
    record(deps, lease, Outcome { command, then: Then::Delete, complete }).await;
}
