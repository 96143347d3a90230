//! What operators do to the queue: each is an event of the stream `queue`, with what it changes in the same commit.

use chrono::TimeDelta;

use crate::{
    clock::Clock,
    commit::{Commit, JobChange},
    domain::{
        gateway::{CheckIn, Gateway, Known, Operation, Phase, operation::Kind as OperationKind},
        queue::{Changed, Event},
    },
    envelope::{Actor, Metadata, NewEvent, StreamId},
    execute::load,
    ids::{EventId, GatewayId, JobId},
    job::{Job, Kind, check_in_key},
    register::TOKEN_KEPT_HOURS,
    store::{CommitError, Process, ProcessKind, Store, StoreError},
    view::queue_rows,
};

/// Gateways that are looked at by one sweep.
const SWEEP_MAX: u32 = 1_000;

/// Why the queue was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// No such job.
    #[error("there is no job {0}; `mission-control jobs list` shows them")]
    NoJob(JobId),
    /// No such worker.
    #[error("there is no worker {0}; `mission-control workers list` shows them")]
    NoWorker(String),
    /// A worker holds it.
    #[error("job {0} runs now; it can be changed when its delivery has ended")]
    Runs(JobId),
    /// It follows from the state of its gateway.
    #[error("a {kind} job follows from the state of its gateway and would come back; {instead}")]
    Owed {
        /// Its kind.
        kind: Kind,
        /// What to do.
        instead: &'static str,
    },
    /// The store said no.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event could not be written as JSON, which would be a bug.
    #[error("an event of the queue could not be written")]
    Json(#[from] serde_json::Error),
}

/// Pauses the queue; `false` if it was paused already.
///
/// # Errors
///
/// [`SteerError`] if it is not written.
pub async fn pause(
    store: &dyn Store,
    clock: &dyn Clock,
    actor: &Actor,
    reason: &str,
) -> Result<bool, SteerError> {
    if store.pause().await?.is_some() {
        return Ok(false);
    }
    let by = actor.name.clone();
    let event = Event::Paused { by, reason: reason.to_owned() };
    append(store, clock, actor, (event, None)).await.map(|()| true)
}

/// Resumes the queue; `false` if it was not paused.
///
/// # Errors
///
/// [`SteerError`] if it is not written.
pub async fn resume(store: &dyn Store, clock: &dyn Clock, actor: &Actor) -> Result<bool, SteerError> {
    if store.pause().await?.is_none() {
        return Ok(false);
    }
    let event = Event::Resumed { by: actor.name.clone() };
    append(store, clock, actor, (event, None)).await.map(|()| true)
}

/// Lets a worker end what it does and take no more; `false` if that was asked for already.
///
/// # Errors
///
/// [`SteerError`]: no such worker, or not written.
pub async fn drain(
    store: &dyn Store,
    clock: &dyn Clock,
    actor: &Actor,
    (worker, reason): (&str, &str),
) -> Result<bool, SteerError> {
    if find_worker(store, clock, worker).await?.is_to_drain {
        return Ok(false);
    }
    let (worker, by) = (worker.to_owned(), actor.name.clone());
    let event = Event::WorkerDrained { worker, by, reason: reason.to_owned() };
    append(store, clock, actor, (event, None)).await.map(|()| true)
}

/// Lets a worker take jobs again; `false` if it was not to drain.
///
/// # Errors
///
/// [`SteerError`]: no such worker, or not written.
pub async fn resume_worker(
    store: &dyn Store,
    clock: &dyn Clock,
    actor: &Actor,
    worker: &str,
) -> Result<bool, SteerError> {
    if !find_worker(store, clock, worker).await?.is_to_drain {
        return Ok(false);
    }
    let event = Event::WorkerResumed { worker: worker.to_owned(), by: actor.name.clone() };
    append(store, clock, actor, (event, None)).await.map(|()| true)
}

async fn find_worker(store: &dyn Store, clock: &dyn Clock, worker: &str) -> Result<Process, SteerError> {
    let mut known = store.processes(clock.now()).await?.into_iter();
    let found = known.find(|known| known.report.kind == ProcessKind::Worker && known.report.id == worker);
    found.ok_or_else(|| SteerError::NoWorker(worker.to_owned()))
}

/// Makes a job that waits due at once.
///
/// # Errors
///
/// [`SteerError`]: no such job, it runs, or not written.
pub async fn retry(
    store: &dyn Store,
    clock: &dyn Clock,
    actor: &Actor,
    job: JobId,
) -> Result<(), SteerError> {
    let waits = find(store, job).await?;
    let change = JobChange::RunNow { job, attempt: waits.attempt };
    let event = Event::JobRetried(changed(&waits, actor));
    append(store, clock, actor, (event, Some(change))).await
}

/// Drops a job that waits and that nobody waits for.
///
/// # Errors
///
/// [`SteerError`]: no such job, it runs, it would come back, or not written.
pub async fn cancel(
    store: &dyn Store,
    clock: &dyn Clock,
    actor: &Actor,
    job: JobId,
) -> Result<(), SteerError> {
    let waits = find(store, job).await?;
    let known = match load(store, waits.gateway).await? {
        Gateway::Unknown => None,
        Gateway::Known(known) => Some(known),
    };
    if known.is_some_and(|known| owed(&known, clock).iter().any(|owed| owed.kind == waits.kind)) {
        let instead = "cancel its operation, or pause the queue";
        return Err(SteerError::Owed { kind: waits.kind, instead });
    }
    let event = Event::JobCancelled(changed(&waits, actor));
    append(store, clock, actor, (event, Some(JobChange::Drop { job }))).await
}

async fn find(store: &dyn Store, job: JobId) -> Result<Job, SteerError> {
    let queued = store.jobs().await?.into_iter().find(|queued| queued.job.id == job);
    let queued = queued.ok_or(SteerError::NoJob(job))?;
    if queued.leased.is_some() {
        return Err(SteerError::Runs(job));
    }
    Ok(queued.job)
}

fn changed(job: &Job, actor: &Actor) -> Changed {
    Changed {
        job: job.id,
        kind: job.kind.to_string(),
        gateway: job.gateway,
        operation: job.operation,
        by: actor.name.clone(),
    }
}

async fn append(
    store: &dyn Store,
    clock: &dyn Clock,
    actor: &Actor,
    (event, change): (Event, Option<JobChange>),
) -> Result<(), SteerError> {
    let metadata = Metadata::of(actor.clone());
    let stream = StreamId::queue();
    let mut tries = 0;
    loop {
        tries += 1;
        let version = store.load(&stream).await?.last().map_or(0, |last| last.version);
        let at = clock.now();
        let mut commit = Commit::new(stream.clone(), None, version, at);
        commit.events.push(NewEvent::new(EventId::mint(at), &event, &metadata)?);
        commit.rows = queue_rows(&event, at);
        commit.changed_jobs.extend(change);
        match store.commit(commit).await {
            Err(CommitError::Conflict { .. }) if tries < 3 => {}
            Err(CommitError::LeaseLost { job }) => return Err(SteerError::Runs(job)),
            other => return Ok(other.map(|_| ())?),
        }
    }
}

/// Tells the log that the read models are made again, before they are.
///
/// # Errors
///
/// [`SteerError`] if it is not written.
pub async fn note_rebuild(store: &dyn Store, clock: &dyn Clock, actor: &Actor) -> Result<(), SteerError> {
    append(store, clock, actor, (Event::ReadModelsRebuilt { by: actor.name.clone() }, None)).await
}

/// Enqueues again all that waits for a worker although its job is gone, because somebody says so. Without any of that
/// there is no event; otherwise it is written first.
///
/// # Errors
///
/// [`SteerError`] if the store fails; what was enqueued until then stays.
pub async fn reconcile_for(
    store: &dyn Store,
    clock: &dyn Clock,
    actor: &Actor,
) -> Result<Vec<(GatewayId, Kind)>, SteerError> {
    let mut enqueued = vec![];
    loop {
        let waiting = store.waiting_without_job(SWEEP_MAX).await?.len();
        if waiting > 0 && enqueued.is_empty() {
            let gateways = u64::try_from(waiting).unwrap_or(u64::MAX);
            let event = Event::Reconciled { by: actor.name.clone(), gateways };
            append(store, clock, actor, (event, None)).await?;
        }
        let some = reconcile(store, clock).await?;
        let is_last = some.is_empty() || u32::try_from(waiting).is_ok_and(|waiting| waiting < SWEEP_MAX);
        enqueued.extend(some);
        if is_last {
            return Ok(enqueued);
        }
    }
}

/// Enqueues again what waits for a worker although its job is gone, for at most 1,000 gateways, and tells for which.
///
/// # Errors
///
/// [`SteerError`] if the store fails; what was enqueued until then stays.
pub async fn reconcile(store: &dyn Store, clock: &dyn Clock) -> Result<Vec<(GatewayId, Kind)>, SteerError> {
    let mut enqueued = vec![];
    for gateway in store.waiting_without_job(SWEEP_MAX).await? {
        let Gateway::Known(known) = load(store, gateway).await? else { continue };
        let mut commit = Commit::new(
            StreamId::from(gateway),
            Some(known.request.organization_id),
            known.revision,
            clock.now(),
        );
        commit.jobs = owed(&known, clock);
        let kinds: Vec<Kind> = commit.jobs.iter().map(|job| job.kind).collect();
        if kinds.is_empty() {
            continue;
        }
        match store.commit(commit).await {
            Ok(_) => enqueued.extend(kinds.into_iter().map(|kind| (gateway, kind))),
            // Something happened to it meanwhile; if it still waits, the next sweep finds it.
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(enqueued)
}

/// The jobs that a gateway in this state must have.
#[must_use]
pub fn owed(known: &Known, clock: &dyn Clock) -> Vec<Job> {
    let now = clock.now();
    let job = |kind, run_at, gateway_key| Job {
        id: JobId::mint(now),
        kind,
        gateway: known.request.gateway,
        operation: known.operation.id,
        gateway_key,
        run_at,
        attempt: known.operation.attempts.saturating_add(1),
        created_at: known.operation.requested_at,
        traceparent: None,
    };
    let key = known.request.url.key();
    if !known.is_ended() {
        let Operation { kind, .. } = known.operation;
        return match kind {
            OperationKind::Create => vec![job(Kind::ProvisionGateway, now, key)],
            OperationKind::Update => vec![job(Kind::UpdateGateway, now, key)],
            OperationKind::Sync => vec![job(Kind::SyncTemplates, now, key)],
            OperationKind::Delete => vec![job(Kind::RemoveGateway, now, key)],
        };
    }
    if matches!(known.phase, Phase::Active(..)) && known.check_in == CheckIn::Missed {
        let key = check_in_key(known.request.gateway);
        return vec![Job { created_at: now, attempt: 1, ..job(Kind::AwaitCheckIn, now, key) }];
    }
    let Phase::Failed { cleaned } = known.phase else { return vec![] };
    let mut jobs = vec![];
    if !cleaned && known.agent_may_exist {
        jobs.push(Job { created_at: now, attempt: 1, ..job(Kind::RemoveMainAgent, now, key) });
    }
    if !known.token_erased {
        let at = known.operation.progressed_at + TimeDelta::hours(TOKEN_KEPT_HOURS);
        let key = format!("erase:{}", known.request.gateway);
        jobs.push(Job { attempt: 1, ..job(Kind::EraseToken, at.max(now), key) });
    }
    jobs
}
