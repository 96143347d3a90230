//! The runtime: apalis over our own queue. Claim loop, lease keeper and handler; the jobs themselves are in the folder.
//!
//! apalis hands deliveries to handlers and drains at the end; no guarantee hangs on it. The permit and the lease travel
//! inside the delivery.

mod await_check_in;
mod duty;
mod erase_token;
mod held;
mod outcome;
mod probe_gateway;
mod provision_gateway;
mod read;
mod refresh_main_agent;
mod remove_gateway;
mod remove_main_agent;
mod remove_moved_agent;
mod sync_templates;
mod update_gateway;
mod wake_main_agent;

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use apalis::prelude::*;
use apalis_core::backend::{Backend, BackendConfig, finalize::Ephemeral};
use futures_util::FutureExt as _;
use shared::{
    chain::chain,
    failpoint::{When, reach},
    job::{Kind, Lease},
    meter::{self, Delivery},
    presence::Presence,
    store::{Claim, HandedOver, LocalWorker, ProcessKind},
};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::layer::util::Identity;
use tracing::Instrument as _;
use uuid::Uuid;

pub(crate) use self::provision_gateway::told;
use self::{
    duty::Duty,
    held::{Held, Named},
};
pub use crate::config::{Deps, Settings};

/// Expired leases and due jobs are looked for at least this often, whatever was or was not signalled.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long what was cut off may take to be gone, and the last deliveries to arrive, before they are handed back.
const CUT_OFF: Duration = Duration::from_secs(1);
/// To hand leases back; what fails is taken over when the leases have run out.
const HAND_BACK: Duration = Duration::from_secs(3);

/// What every part of one worker shares.
struct Runtime {
    deps: Deps,
    held: Arc<Held>,
    duty: Duty,
    presence: Presence,
    permits: Arc<Semaphore>,
}

/// Deliveries on their way to the handler. A restarted runtime reads on from the same channel.
#[derive(Clone)]
struct Deliveries(Arc<Mutex<mpsc::UnboundedReceiver<HandedOver>>>);

impl Deliveries {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<HandedOver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_recv(context)
    }
}

impl Backend for Deliveries {
    type Task = Task<HandedOver>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.poll(context).map(|delivery| {
            delivery.map(|delivery| {
                // Unique per delivery: the runtime does not take the same task id twice.
                let id = TaskId::from_string(format!("{}:{}", delivery.lease.job.id, delivery.lease.token));
                Ok(TaskBuilder::new(delivery).task_id(id).build())
            })
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Deliveries {
    type Args = HandedOver;
    type Id = Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// Runs jobs until `stop` is cancelled, then finishes or hands back what is running.
///
/// # Errors
///
/// If the runtime ends without having been asked to: the caller must not take that for success.
pub async fn run(deps: Deps, stop: CancellationToken) -> io::Result<()> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(usize::try_from(deps.settings.concurrency).unwrap_or(256)));
    let local = LocalWorker {
        worker: deps.settings.worker_id.clone(),
        permits: Arc::clone(&permits),
        lease: deps.settings.lease,
        jobs: sender.clone(),
    };
    let duty = Duty::begin(deps.store.as_ref(), local, stop.clone());
    let presence = presence(&deps);
    let runtime = Arc::new(Runtime { deps, held: Arc::default(), duty, presence, permits });
    let settings = &runtime.deps.settings;
    meter::worker_began(settings.concurrency);
    let store = Arc::clone(&runtime.deps.store);
    let no_more = stop.child_token();
    let claiming = tokio::spawn(claim_loop(Arc::clone(&runtime), sender, no_more.clone()));
    let keeping = AbortOnDropHandle::new(tokio::spawn(keep_leases(Arc::clone(&runtime))));
    let _sweeping = AbortOnDropHandle::new(tokio::spawn(crate::sweep::run(runtime.deps.clone())));
    let monitoring = crate::monitor::run(runtime.deps.clone(), stop.child_token());
    let monitoring = AbortOnDropHandle::new(tokio::spawn(monitoring));
    let deliveries = Deliveries(Arc::new(Mutex::new(receiver)));
    let backend = deliveries.clone();
    let data = Arc::clone(&runtime);
    let name = settings.worker_id.clone();
    let asked = stop.clone();
    let ended = Monitor::new()
        .register(move |run| {
            WorkerBuilder::new(format!("{name}-{run}"))
                .backend(backend.clone())
                .data(Arc::clone(&data))
                .build(handle)
        })
        .should_restart(|_, _| true)
        .shutdown_timeout(settings.shutdown)
        .run_with_signal(async move {
            asked.cancelled().await;
            // Jobs of requests that are still answered go to other workers.
            store.attach(None);
            Ok(())
        })
        .await;
    runtime.duty.end(runtime.deps.store.as_ref());
    no_more.cancel();
    let _ = claiming.await;
    hand_back(&runtime, &deliveries).await;
    drop(keeping);
    // Its probes are cut off by the same signal; what cannot be handed back in time is due again by itself.
    let _ = tokio::time::timeout(HAND_BACK, monitoring).await;
    runtime.presence.leave().await;
    if !stop.is_cancelled() {
        return Err(io::Error::other("the job runtime ended without having been asked to"));
    }
    ended.map_err(|error| io::Error::other(error.to_string()))
}

/// As `workers list` shows it.
fn presence(deps: &Deps) -> Presence {
    let Settings { worker_id, concurrency, .. } = &deps.settings;
    let access = (Arc::clone(&deps.store), Arc::clone(&deps.clock), Arc::clone(&deps.vault));
    Presence::new(access, (worker_id.clone(), ProcessKind::Worker), *concurrency)
}

/// Most jobs that a worker of this concurrency takes at once: half.
///
/// So the outcomes of one half are written while the other half is claimed. Taken together, they would also end together,
/// and neither would ever overlap.
#[must_use]
pub fn claimed_at_once(concurrency: u32) -> usize {
    usize::try_from(concurrency.div_ceil(2)).unwrap_or(usize::MAX)
}

/// Takes what is due while there are free permits.
async fn claim_loop(runtime: Arc<Runtime>, jobs: mpsc::UnboundedSender<HandedOver>, stop: CancellationToken) {
    let enqueued = runtime.deps.store.enqueued();
    let mut pause = Duration::from_millis(100);
    while !stop.is_cancelled() {
        let first = tokio::select! {
            permit = free_permit(&runtime) => permit,
            () = stop.cancelled() => return,
        };
        let Ok(first) = first else { return };
        let settings = &runtime.deps.settings;
        let most = claimed_at_once(settings.concurrency);
        let mut permits = vec![first];
        while permits.len() < most
            && let Ok(permit) = Arc::clone(&runtime.permits).try_acquire_owned()
        {
            permits.push(permit);
        }
        let wanted = u32::try_from(permits.len()).unwrap_or(u32::MAX);
        let claim = Claim {
            worker: settings.worker_id.clone(),
            permits: wanted,
            lease: settings.lease,
            now: runtime.deps.clock.now(),
        };
        let until = Instant::now() + settings.lease;
        reach(When::Before, "claim", claimed);
        match runtime.deps.store.claim(claim).await {
            Ok(leases) => {
                if !leases.is_empty() {
                    reach(When::After, "claim", claimed);
                }
                pause = Duration::from_millis(100);
                let is_full = leases.len() == permits.len();
                for lease in leases {
                    let Some(permit) = permits.pop() else { break };
                    let _ = jobs.send(HandedOver { lease, until, permit });
                }
                drop(permits);
                if !is_full {
                    wait_for_work(&runtime, &enqueued, &stop).await;
                }
            }
            Err(error) => {
                drop(permits);
                tracing::warn!(error = chain(&error), "jobs could not be claimed; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
}

async fn free_permit(runtime: &Runtime) -> Result<OwnedSemaphorePermit, AcquireError> {
    let permit = Arc::clone(&runtime.permits).acquire_owned().await;
    // Last, for the wait for a permit may have been long.
    runtime.duty.may_take().await;
    permit
}

/// What is claimed, for those who let a process die at it.
fn claimed() -> String {
    "jobs".to_owned()
}

async fn wait_for_work(runtime: &Runtime, enqueued: &tokio::sync::Notify, stop: &CancellationToken) {
    let due_in = runtime.deps.store.due_in(runtime.deps.clock.now()).await.ok().flatten();
    // A job that is due and was not claimed waits for another one with its gateway key.
    let wait = due_in.unwrap_or(LOOK_AGAIN).clamp(Duration::from_millis(50), LOOK_AGAIN);
    tokio::select! {
        () = enqueued.notified() => {}
        () = tokio::time::sleep(wait) => {}
        () = stop.cancelled() => {}
    }
}

/// In one rhythm: every held lease is renewed, and this worker reports itself.
async fn keep_leases(runtime: Arc<Runtime>) {
    loop {
        tokio::join!(renew(&runtime), report(&runtime));
        tokio::time::sleep(runtime.deps.settings.renew_every).await;
    }
}

/// Renews every held lease in one statement; a job whose lease is gone is cancelled.
async fn renew(runtime: &Runtime) {
    let held = runtime.held.running();
    if held.is_empty() {
        return;
    }
    let Deps { store, clock, settings, .. } = &runtime.deps;
    let until = Instant::now() + settings.lease;
    match store.renew(&held, settings.lease, clock.now()).await {
        Ok(kept) => runtime.held.keep(&held, &kept.into_iter().collect(), until),
        Err(error) => tracing::warn!(error = chain(&error), "leases could not be renewed; trying again"),
    }
}

/// Tells what this worker does, and hears whether it is to drain.
async fn report(runtime: &Runtime) {
    let in_flight = u32::try_from(runtime.held.running().len()).unwrap_or(u32::MAX);
    let reported = runtime.presence.report(in_flight, runtime.duty.takes_no_more()).await;
    if let Some(is_to_drain) = reported {
        runtime.duty.set(runtime.deps.store.as_ref(), is_to_drain);
    }
}

/// Gives what did not end to the next worker: deliveries that were cut off, and those that had not begun.
async fn hand_back(runtime: &Runtime, deliveries: &Deliveries) {
    let mut left: Vec<Named> = vec![];
    // Nobody claims any more; the channel ends when the last commit that had this worker in view is through.
    let not_begun = async {
        while let Some(HandedOver { lease, .. }) = poll_fn(|context| deliveries.poll(context)).await {
            left.push((lease.job.id, lease.token));
        }
        while !runtime.held.running().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(CUT_OFF, not_begun).await;
    left.extend(runtime.held.left());
    if left.is_empty() {
        return;
    }
    let released = tokio::time::timeout(HAND_BACK, runtime.deps.store.release(&left)).await;
    tracing::info!(jobs = left.len(), released = matches!(released, Ok(Ok(()))), "handed running jobs back");
}

/// One delivery, in a task of its own: a panic or a blocking call in it hurts nobody else.
async fn handle(delivery: HandedOver, runtime: Data<Arc<Runtime>>) -> Result<(), BoxDynError> {
    let runtime = Arc::clone(&runtime);
    Ok(AbortOnDropHandle::new(tokio::spawn(deliver(delivery, runtime))).await?)
}

async fn deliver(delivery: HandedOver, runtime: Arc<Runtime>) {
    let HandedOver { lease, until, permit } = delivery;
    let holding = runtime.held.begin((lease.job.id, lease.token), until);
    let deps = runtime.deps.under(holding.tenure());
    let began = Instant::now();
    let span = tracing::info_span!("job", job.kind = %lease.job.kind, job.id = %lease.job.id,
        job.attempt = lease.job.attempt, operation = %lease.job.operation, gateway.id = %lease.job.gateway,
        traceparent = lease.job.traceparent);
    let job = std::panic::AssertUnwindSafe(Box::pin(perform(&deps, &lease))).catch_unwind();
    async {
        let outcome = tokio::select! {
            done = job => if done.is_ok() {
                Delivery::Done
            } else {
                tracing::error!("the job panicked; it runs again when its lease has run out");
                Delivery::Panicked
            },
            () = holding.lost() => {
                tracing::warn!("the lease was lost to another worker; this delivery ends without an outcome");
                Delivery::LeaseLost
            }
        };
        let took = began.elapsed();
        meter::delivery_ended(lease.job.kind, outcome, took);
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(outcome = outcome.as_str(), duration_ms, "job");
    }
    .instrument(span)
    .await;
    holding.end();
    drop(permit);
}

/// The one table of jobs.
async fn perform(deps: &Deps, lease: &Lease) {
    match lease.job.kind {
        Kind::ProvisionGateway => provision_gateway::run(deps, lease).await,
        Kind::RemoveMainAgent => remove_main_agent::run(deps, lease).await,
        Kind::EraseToken => erase_token::run(deps, lease).await,
        Kind::UpdateGateway => update_gateway::run(deps, lease).await,
        Kind::SyncTemplates => sync_templates::run(deps, lease).await,
        Kind::RefreshMainAgent => refresh_main_agent::run(deps, lease).await,
        Kind::RemoveMovedAgent => remove_moved_agent::run(deps, lease).await,
        Kind::RemoveGateway => remove_gateway::run(deps, lease).await,
        Kind::ProbeGateway => probe_gateway::run(deps, lease).await,
        Kind::AwaitCheckIn => await_check_in::run(deps, lease).await,
        Kind::WakeMainAgent => wake_main_agent::run(deps, lease).await,
    }
}
