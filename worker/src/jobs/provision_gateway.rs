//! Reaches a gateway, provisions its main agent, and records that it was created or precisely how it failed.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use shared::{
    chain::chain,
    commit::{Commit, CredentialChange, SecretChange, Then},
    domain::gateway::{
        Command, Gateway, Known, Phase,
        command::Leftover,
        event,
        failure::{Cause, Failure, Stage, Verdict},
    },
    job::{Kind, Lease},
    meter::{self, Attempt, Creation},
    register::{TOKEN_KEPT_HOURS, agent_token_owner, device_token_owner, gateway_token_owner},
    secret::Secret,
    token,
};

use super::{
    outcome::{Outcome, Recorded, end, follow_up, try_record},
    read, remove_main_agent,
};
use crate::{
    config::Deps,
    gateway::provision::{self, Failed, Order, Provisioned, provision},
    retry::{Next, Round, next, pairing_poll},
};

/// A job that lost its worker this often ends as a failure: it may be what kills them.
const LOST_LEASES_MAX: u32 = 5;
/// When a job is looked at again that could not even begin.
const LATER: Duration = Duration::from_mins(1);

/// One delivery. Folds the stream first: what is decided already is not done again.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    let known = match read::gateway(deps, lease).await {
        Ok(Gateway::Known(known)) if !known.is_ended() => known,
        Ok(Gateway::Known(known)) if is_left_to_clean(&known, lease) => {
            return remove_main_agent::run(deps, lease).await;
        }
        Ok(_) => return end(deps, lease, Then::Delete).await,
        Err(error) => {
            tracing::error!(
                error = chain(&error),
                "the gateway's stream could not be read; trying again in a minute"
            );
            return again_later(deps, lease).await;
        }
    };
    if lease.lost_leases >= LOST_LEASES_MAX {
        let detail = format!(
            "Provisioning stopped its worker {} times; the job was ended. Look at the workers' logs for operation {}.",
            lease.lost_leases, lease.job.operation
        );
        let failure = Failure::new(Stage::Agent, Cause::CallRefused, detail);
        return fail(deps, lease, &known, (failure, provision_left(&known))).await;
    }
    let order = match order(deps, lease, &known).await {
        Ok(order) => order,
        Err(error) => {
            tracing::error!(
                error,
                "the registration's secrets could not be opened; trying again in a minute"
            );
            return again_later(deps, lease).await;
        }
    };
    match provision(&deps.dialer, &order).await {
        Ok(provisioned) => succeed(deps, lease, &order, provisioned).await,
        Err(failed) => after_failure(deps, lease, &known, failed).await,
    }
}

/// Whether the registration was cancelled after a delivery may have created the agent.
fn is_left_to_clean(known: &Known, lease: &Lease) -> bool {
    let was_tried = lease.lost_leases > 0 || known.agent_may_exist;
    was_tried && matches!(known.phase, Phase::Failed { cleaned: false })
}

async fn again_later(deps: &Deps, lease: &Lease) {
    end(deps, lease, Then::RunAt { at: deps.clock.now() + LATER, attempt: lease.job.attempt }).await;
}

/// Everything the gateway side needs; also for the clean-up.
pub(super) async fn order(deps: &Deps, lease: &Lease, known: &Known) -> Result<Order, String> {
    let owner = gateway_token_owner(known.request.gateway);
    order_for(deps, lease, known, (&known.request, &owner)).await
}

/// The same for a configuration that does not serve yet, or no longer.
pub(super) async fn order_for(
    deps: &Deps,
    lease: &Lease,
    known: &Known,
    (request, token_owner): (&event::Requested, &str),
) -> Result<Order, String> {
    // What was issued at one address is worth nothing at another.
    let is_same_gateway = request.url == known.request.url;
    let (device, agent) = (device_token_owner(request.gateway), agent_token_owner(request.gateway));
    let (token, device_token, agent_token) = tokio::try_join!(
        open_if(deps, request.has_token, token_owner),
        open_if(deps, is_same_gateway, &device),
        read::secret(deps, &agent),
    )?;
    if request.has_token && token.is_none() {
        return Err("the sealed gateway token is missing".to_owned());
    }
    Ok(Order {
        gateway_id: request.gateway,
        operation: known.operation.id,
        name: request.name.clone(),
        url: request.url.clone(),
        workspace_root: request.workspace_root.clone(),
        device_token,
        token,
        allow_insecure_tls: request.allow_insecure_tls,
        disable_device_pairing: request.disable_device_pairing,
        agent_id: request.gateway_agent_id,
        agent_token: agent_token.ok_or("the sealed agent token is missing")?,
        base_url: deps.settings.base_url.clone(),
        heartbeat_every: deps.settings.heartbeat_every,
        minimum_version: deps.settings.minimum_version.clone(),
        templates: Arc::clone(&deps.settings.templates),
        patience: known.operation.patience,
        agent_may_exist: known.agent_may_exist || lease.lost_leases > 0,
    })
}

async fn open_if(deps: &Deps, is_wanted: bool, owner: &str) -> Result<Option<Secret>, String> {
    if is_wanted { read::secret(deps, owner).await } else { Ok(None) }
}

async fn succeed(deps: &Deps, lease: &Lease, order: &Order, provisioned: Provisioned) {
    let Provisioned { verified, agent, dials, issued_token } = provisioned;
    tracing::info!(dials, runtime_version = verified.runtime_version, "gateway provisioned");
    let command = Command::RecordCreated { verified: told(verified), agent: written(agent) };
    // From this commit on the agent's token is accepted.
    let hash = token::hash(order.agent_token.expose()).to_vec();
    let subject = order.agent_id.to_string();
    let owner = device_token_owner(lease.job.gateway);
    let issued = issued_token.as_ref().and_then(|token| deps.vault.seal(&owner, token).ok());
    let complete = |commit: &mut Commit| {
        commit.credentials.push(CredentialChange::Put { hash: hash.clone(), subject: subject.clone() });
        if deps.settings.wakes.most > 0 {
            let now = deps.clock.now();
            commit.jobs.push(follow_up(lease, Kind::AwaitCheckIn, now, now + deps.settings.wakes.wait));
        }
        if let Some(sealed) = issued.clone() {
            commit.secrets.push(SecretChange::Put { owner: owner.clone(), sealed });
        }
    };
    match try_record(deps, lease, Outcome { command, then: Then::Delete, complete }).await {
        Recorded::Written => {
            meter::attempt(Attempt::Succeeded);
            meter::creation(Creation::Succeeded);
        }
        Recorded::TooLate => {}
        // Somebody cancelled meanwhile: what was just provisioned goes again.
        Recorded::Refused => remove_main_agent::run(deps, lease).await,
    }
}

/// What a gateway said of itself, for the log.
pub(crate) fn told(verified: provision::Verified) -> event::Verified {
    let provision::Verified { runtime_version, protocol, scopes, latency_ms, .. } = verified;
    event::Verified { runtime_version, protocol, scopes, latency_ms }
}

/// An agent as it was written, for the log.
pub(super) fn written(agent: provision::MainAgent) -> event::MainAgent {
    let config_form = serde_json::to_value(agent.config_form).ok();
    event::MainAgent {
        agent_id: agent.agent_id,
        workspace: agent.workspace,
        files_written: agent.files_written,
        files_moved: agent.files_moved,
        files_not_taken: agent.files_not_taken,
        config_form: config_form.and_then(|form| form.as_str().map(str::to_owned)).unwrap_or_default(),
        wake: agent.wake,
    }
}

/// Records what follows a failed attempt; if the registration was cancelled meanwhile, what it left is removed.
async fn record_failed<F: Fn(&mut Commit) + Send + Sync>(
    deps: &Deps,
    lease: &Lease,
    (left, attempt): (&provision::Leftover, Attempt),
    outcome: Outcome<F>,
) -> Recorded {
    let recorded = try_record(deps, lease, outcome).await;
    match recorded {
        Recorded::Written => meter::attempt(attempt),
        Recorded::TooLate => {}
        Recorded::Refused => clean_after_cancel(deps, lease, left).await,
    }
    recorded
}

async fn clean_after_cancel(deps: &Deps, lease: &Lease, left: &provision::Leftover) {
    match left {
        provision::Leftover::MayRemain { .. } => remove_main_agent::run(deps, lease).await,
        provision::Leftover::Nothing | provision::Leftover::Removed { .. } => {
            end(deps, lease, Then::Delete).await;
        }
    }
}

async fn after_failure(deps: &Deps, lease: &Lease, known: &Known, failed: Failed) {
    let attempt = lease.job.attempt;
    let failure = failed.failure;
    let stage = failure.stage;
    let now = deps.clock.now();
    let elapsed = known.operation.tried_for(now);
    let round = Round { attempt, elapsed, jitter: rand::random(), asked: failed.retry_after };
    let decision = next(failure.cause, known.operation.patience, round);
    tracing::info!(dials = failed.dials, stage = %stage, code = failure.cause.code().as_str(), cause = ?failure.cause,
        detail = failure.detail, next = ?decision, "attempt failed");
    let agent_may_remain = matches!(failed.agent, provision::Leftover::MayRemain { .. });
    match decision {
        Next::Retry(delay) => {
            let retry_at = now + delay;
            let command = Command::RecordAttemptFailed { attempt, failure, retry_at, agent_may_remain };
            let then = Then::RunAt { at: retry_at, attempt: attempt + 1 };
            let ended = (&failed.agent, Attempt::Retried(stage));
            record_failed(deps, lease, ended, Outcome { command, then, complete: nothing }).await;
        }
        Next::AwaitApproval => {
            let (since, until) = match &known.phase {
                Phase::AwaitingPairing { since, until, .. } => (*since, *until),
                Phase::Requested
                | Phase::Verified(_)
                | Phase::Provisioned(..)
                | Phase::Active(..)
                | Phase::Failed { .. }
                | Phase::Deleting { .. }
                | Phase::Deleted => (now, now + deps.settings.pairing_wait),
            };
            let delay = pairing_poll((now - since).to_std().unwrap_or_default());
            if now >= until {
                return fail(deps, lease, known, (failure, failed.agent)).await;
            }
            let request_id = failure.pairing_request_id.clone();
            let command = Command::RecordPairingRequired {
                device_id: failure.device_id.clone().unwrap_or_default(),
                approve: format!(
                    "openclaw devices approve {}",
                    request_id.as_deref().unwrap_or("<request id>")
                ),
                request_id,
                until,
                agent_may_remain,
            };
            // The last look is at the end itself: an approval of the last moment counts.
            let then = Then::RunAt { at: (now + delay).min(until), attempt };
            let ended = (&failed.agent, Attempt::AwaitingApproval(stage));
            record_failed(deps, lease, ended, Outcome { command, then, complete: nothing }).await;
        }
        Next::GiveUp => fail(deps, lease, known, (failure, failed.agent)).await,
    }
}

fn nothing(_: &mut Commit) {}

fn provision_left(known: &Known) -> provision::Leftover {
    provision::Leftover::MayRemain {
        agent_id: known.request.gateway_agent_id.on_gateway(),
        why: "the job that provisions it was ended".to_owned(),
    }
}

async fn fail(deps: &Deps, lease: &Lease, known: &Known, (failure, left): (Failure, provision::Leftover)) {
    let (code, stage) = (failure.cause.code(), failure.stage);
    let may_dial = failure.cause.verdict() != Verdict::NeverRepeat;
    let leftover = match left.clone() {
        provision::Leftover::Nothing => Leftover::Nothing,
        provision::Leftover::Removed { agent_id } => Leftover::Removed { agent_id },
        provision::Leftover::MayRemain { .. } if may_dial => Leftover::MayRemain,
        provision::Leftover::MayRemain { agent_id, why } => Leftover::LeftBehind { agent_id, why },
    };
    let clean_up = leftover == Leftover::MayRemain;
    let attempts = known.operation.attempts.max(lease.job.attempt);
    let now = deps.clock.now();
    let complete = |commit: &mut Commit| {
        if clean_up {
            commit.jobs.push(follow_up(lease, Kind::RemoveMainAgent, now, now));
        }
        let erase_at = now + TimeDelta::hours(TOKEN_KEPT_HOURS);
        commit.jobs.push(follow_up(lease, Kind::EraseToken, now, erase_at));
    };
    let command = Command::RecordFailed { failure, attempts, leftover };
    let outcome = Outcome { command, then: Then::Delete, complete };
    if record_failed(deps, lease, (&left, Attempt::Failed(stage)), outcome).await == Recorded::Written {
        meter::creation(Creation::Failed(code));
    }
}
