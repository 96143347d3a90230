//! Writes the agents of a gateway anew from the templates; what goes wrong with one does not stop the others.

use shared::{
    chain::chain,
    commit::{Commit, CredentialChange, SecretChange, Then},
    domain::gateway::{
        Command, Gateway, Known,
        failure::{Failure, Stage, Verdict},
        sync::{AgentFault, Synced},
    },
    job::Lease,
    register::{agent_token_owner, new_agent_token_owner},
    secret::Secret,
    token,
};

use super::{
    outcome::{Outcome, end, record},
    provision_gateway::{order, told, written},
    read,
};
use crate::{
    config::Deps,
    gateway::refresh::{NotRefreshed, Refreshed, Scope, refresh},
    retry::{CLEAN_UP_LONGEST, Next, Round, next},
};

/// What becomes of the agent's token.
#[derive(Clone, Copy)]
enum Rotation {
    /// Nothing was written with the new one.
    Dropped,
    /// The files may hold the new one: it is accepted beside the old one.
    Added,
    /// The files hold the new one: the old one ends.
    Done,
}

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
    let Some((options, None)) = known.sync.clone() else { return end(deps, lease, Then::Delete).await };
    if !options.include_main {
        let synced = Synced { verified: None, agent: None, errors: vec![] };
        let command = Command::RecordSynced(Box::new(synced));
        return record(deps, lease, Outcome { command, then: Then::Delete, complete: |_: &mut Commit| {} })
            .await;
    }
    let opened = async {
        let rotated = read::secret(deps, &new_agent_token_owner(lease.job.gateway)).await?;
        Ok::<_, String>((order(deps, lease, &known).await?, rotated.filter(|_| options.rotate_tokens)))
    };
    let (mut order, rotated) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(error, "the gateway's secrets could not be opened; trying again");
            return later(deps, lease).await;
        }
    };
    if let Some(token) = &rotated {
        order.agent_token = token.clone();
    }
    let scope = Scope { sync: options, ..Scope::default() };
    match refresh(&deps.dialer, &order, scope).await {
        Ok(refreshed) => succeed(deps, lease, &known, (refreshed, rotated)).await,
        Err(failed) => fail(deps, lease, &known, (failed, rotated)).await,
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
    (refreshed, rotated): (Refreshed, Option<Secret>),
) {
    let errors = refreshed.not_reset.map(|why| fault(known, format!("The session was not reset: {why}")));
    let synced = Synced {
        verified: Some(told(refreshed.verified)),
        agent: Some(written(refreshed.agent)),
        errors: errors.into_iter().collect(),
    };
    let command = Command::RecordSynced(Box::new(synced));
    finish(deps, lease, known, command, rotated.as_ref().map(|token| (token, Rotation::Done))).await;
}

async fn fail(deps: &Deps, lease: &Lease, known: &Known, (failed, rotated): (NotRefreshed, Option<Secret>)) {
    let attempt = lease.job.attempt;
    let NotRefreshed { failure, retry_after, .. } = failed;
    tracing::info!(stage = %failure.stage, cause = ?failure.cause, detail = failure.detail, "the sync failed");
    let elapsed = known.operation.tried_for(deps.clock.now());
    let round = Round { attempt, elapsed, jitter: rand::random(), asked: retry_after };
    if let Next::Retry(delay) = next(failure.cause, known.operation.patience, round) {
        let retry_at = deps.clock.now() + delay;
        let command = Command::RecordAttemptFailed { attempt, failure, retry_at, agent_may_remain: true };
        let then = Then::RunAt { at: retry_at, attempt: attempt + 1 };
        return record(deps, lease, Outcome { command, then, complete: |_: &mut Commit| {} }).await;
    }
    // Some of the files may hold the new token, those of an earlier attempt included.
    let may_be_written = failure.stage >= Stage::Files || attempt > 1 || lease.lost_leases > 0;
    let rotation = if may_be_written { Rotation::Added } else { Rotation::Dropped };
    let command = outcome(known, failure, attempt);
    finish(deps, lease, known, command, rotated.as_ref().map(|token| (token, rotation))).await;
}

/// A gateway that is there and refuses something for one agent fails that agent; otherwise no agent could be tried.
fn outcome(known: &Known, failure: Failure, attempts: u32) -> Command {
    if failure.stage < Stage::Agent || failure.cause.verdict() != Verdict::Permanent {
        return Command::RecordSyncFailed { failure, attempts };
    }
    let message = format!("At the {} stage: {}", failure.stage, failure.detail);
    let errors = vec![fault(known, message)];
    Command::RecordSynced(Box::new(Synced { verified: None, agent: None, errors }))
}

fn fault(known: &Known, message: String) -> AgentFault {
    AgentFault {
        agent_id: known.request.gateway_agent_id.to_string(),
        agent_name: format!("{} main agent", known.request.name),
        message,
    }
}

async fn finish(
    deps: &Deps,
    lease: &Lease,
    known: &Known,
    command: Command,
    rotated: Option<(&Secret, Rotation)>,
) {
    let gateway = known.request.gateway;
    let subject = known.request.gateway_agent_id.to_string();
    let mut secrets = vec![SecretChange::Erase { owner: new_agent_token_owner(gateway) }];
    let mut credentials = vec![];
    if let Some((token, Rotation::Added | Rotation::Done)) = rotated {
        let owner = agent_token_owner(gateway);
        match deps.vault.seal(&owner, token) {
            Ok(sealed) => secrets.push(SecretChange::Put { owner, sealed }),
            Err(error) => {
                tracing::error!(error = chain(&error), "the agent's token could not be sealed; trying again");
                return later(deps, lease).await;
            }
        }
        if let Some((_, Rotation::Done)) = rotated {
            credentials.push(CredentialChange::Erase { subject: subject.clone() });
        }
        let hash = token::hash(token.expose()).to_vec();
        credentials.push(CredentialChange::Put { hash, subject });
    }
    let complete = |commit: &mut Commit| {
        commit.secrets.extend(secrets.iter().cloned());
        commit.credentials.extend(credentials.iter().cloned());
    };
    record(deps, lease, Outcome { command, then: Then::Delete, complete }).await;
}
