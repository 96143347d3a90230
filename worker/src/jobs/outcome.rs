//! Recording what came of a delivery: as often as it takes, and only while the lease is ours.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::{
    chain::chain,
    commit::{Commit, Finish, Then},
    domain::gateway::{Command, Known},
    envelope::Actor,
    execute::{Context, ExecuteError, execute},
    ids::JobId,
    job::{Job, Kind, Lease, check_in_key},
    store::CommitError,
};

use crate::config::Deps;

/// A command and what its commit carries beside the events.
pub(super) struct Outcome<F> {
    /// What happened.
    pub(super) command: Command,
    /// What becomes of the job.
    pub(super) then: Then,
    /// Jobs, secrets and credentials.
    pub(super) complete: F,
}

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It is in the log, and the delivery has ended.
    Written,
    /// Another worker holds the job or has ended it.
    TooLate,
    /// The stream has moved on, for example because somebody cancelled; the delivery is still ours.
    Refused,
}

/// Writes the outcome, and ends the job if it is refused.
pub(super) async fn record<F: Fn(&mut Commit) + Send + Sync>(
    deps: &Deps,
    lease: &Lease,
    outcome: Outcome<F>,
) {
    if try_record(deps, lease, outcome).await == Recorded::Refused {
        end(deps, lease, Then::Delete).await;
    }
}

/// Writes the outcome. Tries again while the database is away.
pub(super) async fn try_record<F: Fn(&mut Commit) + Send + Sync>(
    deps: &Deps,
    lease: &Lease,
    outcome: Outcome<F>,
) -> Recorded {
    let context = Context {
        actor: Actor::worker(&deps.settings.worker_id),
        request_id: None,
        traceparent: lease.job.traceparent.clone(),
        worker_id: Some(deps.settings.worker_id.clone()),
        attempt: Some(lease.job.attempt),
        causation_id: None,
        only_for: Some(lease.job.operation),
    };
    let finish = Finish { job: lease.job.id, token: lease.token, then: outcome.then.clone() };
    let complete = |commit: &mut Commit| {
        (outcome.complete)(commit);
        commit.finish = Some(finish.clone());
    };
    let mut pause = Duration::from_millis(100);
    loop {
        let target = (lease.job.gateway, outcome.command.clone());
        match execute(deps.store.as_ref(), deps.clock.as_ref(), target, &context, complete).await {
            Ok(_) => return Recorded::Written,
            Err(ExecuteError::Commit(CommitError::LeaseLost { .. })) => {
                tracing::warn!("the outcome came too late: another worker holds the job, or has ended it");
                return Recorded::TooLate;
            }
            Err(ExecuteError::Refused(refusal)) => {
                tracing::info!(%refusal, "the outcome was refused");
                return Recorded::Refused;
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the outcome could not be written yet; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
}

/// For what is noticed and belongs to no operation: whatever was asked for last does not make it wrong.
pub(super) fn for_last_operation(lease: &Lease, known: &Known) -> Lease {
    Lease { job: Job { operation: known.operation.id, ..lease.job.clone() }, ..lease.clone() }
}

/// Ends a delivery without an event.
pub(super) async fn end(deps: &Deps, lease: &Lease, then: Then) {
    end_with(deps, lease, (then, vec![])).await;
}

/// Ends a delivery without an event, and enqueues what follows it.
pub(super) async fn end_with(deps: &Deps, lease: &Lease, (then, jobs): (Then, Vec<Job>)) {
    let stream = shared::envelope::StreamId::from(lease.job.gateway);
    let mut pause = Duration::from_millis(100);
    loop {
        let written = async {
            let version =
                deps.store.load(&stream).await.map(|events| events.last().map_or(0, |last| last.version));
            let version = version.map_err(|error| chain(&error))?;
            let mut commit = Commit::new(stream.clone(), None, version, deps.clock.now());
            commit.finish = Some(Finish { job: lease.job.id, token: lease.token, then: then.clone() });
            commit.jobs.clone_from(&jobs);
            match deps.store.commit(commit).await {
                Ok(_) | Err(CommitError::LeaseLost { .. }) => Ok(()),
                Err(error) => Err(chain(&error)),
            }
        };
        let Err(error) = written.await else { return };
        tracing::warn!(error, "the job could not be ended yet; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// Another job for the same gateway and operation.
pub(super) fn follow_up(lease: &Lease, kind: Kind, now: DateTime<Utc>, run_at: DateTime<Utc>) -> Job {
    let gateway_key = match kind {
        // Dials nobody, so it must not wait for those who do, nor hold them up.
        Kind::EraseToken => format!("erase:{}", lease.job.gateway),
        Kind::AwaitCheckIn => check_in_key(lease.job.gateway),
        Kind::ProvisionGateway
        | Kind::RemoveMainAgent
        | Kind::UpdateGateway
        | Kind::SyncTemplates
        | Kind::RefreshMainAgent
        | Kind::RemoveMovedAgent
        | Kind::RemoveGateway
        | Kind::ProbeGateway
        | Kind::WakeMainAgent => lease.job.gateway_key.clone(),
    };
    Job { id: JobId::mint(now), kind, gateway_key, run_at, attempt: 1, created_at: now, ..lease.job.clone() }
}
