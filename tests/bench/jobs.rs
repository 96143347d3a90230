//! Our queue: no-op jobs with their outcome events, and how soon an idle worker begins.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use shared::{
    clock::{Clock, SystemClock},
    commit::{Commit, Finish, Then},
    domain::gateway::{
        Event, Gateway,
        event::Requested,
        failure::{Cause, Failure, Stage},
        patience::Patience,
    },
    envelope::{Actor, NewEvent, StreamId},
    execute::{Context, build},
    ids::{AgentId, EventId, GatewayId, JobId, OperationId, OrganizationId},
    job::{Kind, Lease},
    store::{Claim, Store},
    vault::Vault,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{Metadata, Subscriber, field, span};
use worker::{
    config::{Deps, Settings},
    gateway::{
        Dialer,
        identity::DeviceIdentity,
        limits::Limits,
        policy::{AddressPolicy, SystemResolver},
    },
};

use crate::{
    commits::job,
    numbers::{Times, float},
};

/// For everything that is waited for here.
const LIMIT: Duration = Duration::from_mins(1);
const LEASE: Duration = Duration::from_secs(8);
/// Jobs at once, as a worker's default is.
const PERMITS: u32 = 256;

/// A failed registration whose token is to be erased: the one job that is done without a gateway, and leaves an event.
fn failed_registration(in_an_hour: bool) -> (Commit, JobId) {
    let clock = SystemClock;
    let at = clock.now();
    let (gateway, operation) = (GatewayId::mint(at), OperationId::mint(at));
    let requested = Requested {
        gateway,
        organization_id: OrganizationId::mint(at),
        name: "Production Gateway".to_owned(),
        url: format!("ws://127.0.0.1:9/{gateway}").parse().expect("a URL"),
        workspace_root: "/home/ubuntu/.openclaw/workspaces".to_owned(),
        allow_insecure_tls: false,
        disable_device_pairing: false,
        gateway_agent_id: AgentId::mint(at),
        has_token: true,
        patience: Patience::Background,
        requested_by: "bench".to_owned(),
        operation,
    };
    let failure = Failure::new(Stage::Tcp, Cause::ConnectionRefused, "Nobody is there.");
    let code = failure.cause.code();
    let events = [
        Event::Requested(Box::new(requested)),
        Event::CreationFailed { failure, code, attempts: 1, agent_may_remain: false },
    ];
    let context = Context::of(Actor::command_line());
    let mut commit =
        build(&clock, (gateway, Gateway::Unknown), &events, &context).expect("a commit can be built");
    let run_at = if in_an_hour { at + TimeDelta::hours(1) } else { at };
    let mut erase = job(gateway, Kind::EraseToken, at, run_at);
    erase.operation = operation;
    let id = erase.id;
    commit.jobs.push(erase);
    (commit, id)
}

/// So many failed registrations, each with a job that is due.
async fn fill(store: &Arc<dyn Store>, jobs: usize) {
    let filling = (0..64).map(|writer| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            for _ in (writer..jobs).step_by(64) {
                store.commit(failed_registration(false).0).await.expect("a commit is taken");
            }
        })
    });
    for task in filling.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
}

/// Every event is written by a commit of this store, which tells its position once it is durable.
async fn until_there_are(store: &dyn Store, events: u64) {
    let mut positions = store.positions();
    let written = positions.wait_for(|position| *position >= events);
    let reached = tokio::time::timeout(LIMIT, written).await.expect("the jobs end in time");
    drop(reached.expect("the store is open"));
}

/// Jobs per second that are claimed, run as tasks that do nothing, and ended with an event: the queue without a job.
pub(crate) async fn no_ops_per_second(store: &Arc<dyn Store>, jobs: usize) -> f64 {
    fill(store, jobs).await;
    let before = store.head().await.expect("the log is there").position;
    let started = Instant::now();
    let claiming = tokio::spawn(claim_all(Arc::clone(store), jobs));
    until_there_are(store.as_ref(), before + u64::try_from(jobs).unwrap_or(u64::MAX)).await;
    let elapsed = started.elapsed();
    claiming.await.expect("no panic");
    float(jobs) / elapsed.as_secs_f64()
}

/// Claims as the product's worker does.
async fn claim_all(store: Arc<dyn Store>, jobs: usize) {
    // What happened is the same for each; only the id is the event's own.
    let ended = failed_registration(true).0.events.pop().expect("it ends with an event");
    let most = worker::jobs::claimed_at_once(PERMITS);
    let permits = Arc::new(Semaphore::new(usize::try_from(PERMITS).unwrap_or(1)));
    let mut claimed = 0;
    while claimed < jobs {
        let first = Arc::clone(&permits).acquire_owned().await.expect("it is not closed");
        let mut free = vec![first];
        while free.len() < most
            && let Ok(permit) = Arc::clone(&permits).try_acquire_owned()
        {
            free.push(permit);
        }
        let wanted = u32::try_from(free.len()).unwrap_or(1);
        let claim =
            Claim { worker: "bench".to_owned(), permits: wanted, lease: LEASE, now: SystemClock.now() };
        for lease in store.claim(claim).await.expect("jobs are claimed") {
            claimed += 1;
            let (store, permit, ended) = (Arc::clone(&store), free.pop(), ended.clone());
            tokio::spawn(async move {
                let taken = store.commit(no_op(&lease, ended)).await;
                taken.expect("the outcome is taken");
                drop(permit);
            });
        }
    }
}

fn no_op(lease: &Lease, ended: NewEvent) -> Commit {
    let at = SystemClock.now();
    let mut commit = Commit::new(StreamId::from(lease.job.gateway), None, 2, at);
    commit.events = vec![NewEvent { event_id: EventId::mint(at), ..ended }];
    commit.finish = Some(Finish { job: lease.job.id, token: lease.token, then: Then::Delete });
    commit
}

/// A worker of the product in this process.
struct Worker {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Worker {
    fn start(store: &Arc<dyn Store>) -> Self {
        let dialer = Dialer {
            policy: AddressPolicy::default(),
            resolver: Arc::new(SystemResolver),
            identity: DeviceIdentity::from_seed(&[7; 32]),
            limits: Limits::default(),
            progress: worker::gateway::Progress::default(),
            tenure: worker::gateway::tenure::Tenure::unlimited(),
        };
        let minimum = "2026.02.9".parse().expect("a version");
        let settings =
            Settings { concurrency: PERMITS, ..Settings::new("bench".to_owned(), String::new(), minimum) };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let vault = Arc::new(Vault::new(&[7; 32]));
        let deps = Deps { store: Arc::clone(store), clock, vault, dialer, settings };
        let stop = CancellationToken::new();
        Self { running: tokio::spawn(worker::jobs::run(deps, stop.clone())), stop }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("no panic").expect("it ends well");
    }
}

/// Jobs per second of the product's worker with its cheapest job: read the stream, decide, record that a token is gone.
pub(crate) async fn real_per_second(store: &Arc<dyn Store>, jobs: usize) -> f64 {
    fill(store, jobs).await;
    let before = store.head().await.expect("the log is there").position;
    let started = Instant::now();
    let worker = Worker::start(store);
    until_there_are(store.as_ref(), before + u64::try_from(jobs).unwrap_or(u64::MAX)).await;
    let elapsed = started.elapsed();
    worker.end().await;
    float(jobs) / elapsed.as_secs_f64()
}

/// From the return of a commit to the begin of its job in an idle worker. `committing` may be another process's store.
pub(crate) async fn pick_ups(working: &Arc<dyn Store>, committing: &Arc<dyn Store>, jobs: usize) -> Times {
    let worker = Worker::start(working);
    let starts = Begun::get();
    let started = Instant::now();
    let mut each = vec![];
    for number in 0..jobs + 10 {
        let (commit, job) = failed_registration(false);
        committing.commit(commit).await.expect("a commit is taken");
        let committed = Instant::now();
        let begin = starts.of(job).await;
        // The first ones find nothing warm. One that has begun before its commit returned was handed over in memory.
        if number >= 10 {
            each.push(begin.saturating_duration_since(committed));
        }
        // Idle again: the worker has recorded the outcome and waits.
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    worker.end().await;
    Times::new(each, started.elapsed())
}

/// When each job began: the worker opens a span for it, and nothing else is listened to.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<HashMap<String, Instant>>>, Arc<AtomicU64>);

impl Begun {
    fn get() -> Self {
        static BEGUN: std::sync::OnceLock<Begun> = std::sync::OnceLock::new();
        let install = || {
            let begun = Self::default();
            tracing::subscriber::set_global_default(begun.clone()).expect("nobody else listens");
            begun
        };
        BEGUN.get_or_init(install).clone()
    }

    async fn of(&self, job: JobId) -> Instant {
        let job = job.to_string();
        let waiting = Instant::now();
        loop {
            if let Some(begun) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&job) {
                return begun;
            }
            assert!(waiting.elapsed() < LIMIT, "job {job} does not begin");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

struct JobField(Option<String>);

impl field::Visit for JobField {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        if field.name() == "job.id" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

impl Subscriber for Begun {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "job"
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let now = Instant::now();
        let mut job = JobField(None);
        attributes.record(&mut job);
        if let Some(job) = job.0 {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(job, now);
        }
        span::Id::from_u64(self.1.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
