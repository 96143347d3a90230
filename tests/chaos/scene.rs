//! What each trouble befalls, and what is asked of the log after it.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{
    databases::{Cluster, Durability, ServerDatabase},
    fleet::{Client, Crowd, Fleet, Process, assert_registered_once},
};
use tokio::sync::Mutex;

/// Few: what is looked at is whether it goes on, not how much it bears.
const CLIENTS: usize = 3;
/// Over which a rate is taken.
const WINDOW: Duration = Duration::from_secs(3);
/// After the trouble, until the rate is back: the leases of killed workers run out, and lost connections are made anew.
const RECOVERY: Duration = Duration::from_secs(30);
/// What a registration may take beside the trouble.
const REGISTRATION: Duration = Duration::from_mins(1);
/// One trouble at a time: they share the machine, and rates are compared.
static TURN: Mutex<()> = Mutex::const_new(());

/// A number that whoever runs this chose.
pub(crate) fn chosen(name: &str) -> Option<u64> {
    let told = std::env::var_os(name)?;
    let number = told.to_str().and_then(|told| told.parse().ok());
    Some(number.unwrap_or_else(|| panic!("{name} must be a number")))
}

/// How long a trouble lasts.
pub(crate) fn duration() -> Duration {
    Duration::from_secs(chosen("CHAOS_SECONDS").unwrap_or(15))
}

/// A fleet at work on a server of its own.
pub(crate) struct Scene {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) database: ServerDatabase,
    pub(crate) fleet: Fleet,
    /// Two APIs, of which the first has a worker of its own, and two workers.
    pub(crate) processes: Vec<Process>,
    pub(crate) crowd: Crowd,
}

/// Whether registrations must go on during a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// Nobody notices.
    GoesOn,
    /// Some may wait until it is over.
    MayWait,
}

/// Settings of single processes, by name.
pub(crate) type Settings<'a> = [(&'a str, Vec<(&'static str, &'a str)>)];

/// Lets something go wrong for a while, and holds what follows.
pub(crate) async fn befalls(
    name: &str,
    meanwhile: Meanwhile,
    settings: &Settings<'_>,
    trouble: impl AsyncFnOnce(&mut Scene, Duration),
) {
    let _turn = TURN.lock().await;
    let mut scene = Scene::begin(settings).await;
    let before = scene.crowd.rate(WINDOW).await;
    assert!(before >= CLIENTS, "{name}: {before} registrations in {WINDOW:?} before anything went wrong");
    let lasts = duration();
    let (at_first, began) = (scene.crowd.done(), Instant::now());
    trouble(&mut scene, lasts).await;
    let during = (scene.crowd.done() - at_first, began.elapsed());
    let recovered = scene.recovers(name, before).await;
    println!(
        "{name}: {before} registrations in {WINDOW:?} before, {} in {:.1?} of trouble, back {recovered:.1?} after it",
        during.0, during.1
    );
    if meanwhile == Meanwhile::GoesOn {
        let windows = usize::try_from(during.1.as_millis() / WINDOW.as_millis()).unwrap();
        assert!(during.0 * 2 > before * windows, "{name}: only {} ended in {:?}", during.0, during.1);
    }
    scene.end(name).await;
}

impl Scene {
    async fn begin(settings: &Settings<'_>) -> Self {
        let cluster = Arc::new(Cluster::start(Durability::Pretended).await);
        let database = cluster.empty_database().await;
        let fleet = Fleet::on(database.url());
        let of = |name: &str| {
            let own = settings.iter().find(|(of, _)| *of == name);
            own.map(|(_, settings)| settings.clone()).unwrap_or_default()
        };
        let without_worker = [of("api-2"), vec![("NO_WORKER", "true")]].concat();
        let mut processes = vec![
            fleet.api("api-1", &of("api-1")),
            fleet.api("api-2", &without_worker),
            fleet.worker("worker-1", &of("worker-1")),
            fleet.worker("worker-2", &of("worker-2")),
        ];
        processes.iter_mut().for_each(Process::start);
        for process in &processes {
            process.ready().await;
        }
        let apis = processes.iter().take(2).map(|api| api.base.clone()).collect();
        let client = Client::new(apis, fleet.owner.clone()).within(REGISTRATION + duration());
        let crowd = Crowd::of(CLIENTS, client);
        while crowd.done() < CLIENTS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { cluster, database, fleet, processes, crowd }
    }

    /// Waits until the rate is half of what it was, and tells how long that took.
    async fn recovers(&self, name: &str, before: usize) -> Duration {
        let over = Instant::now();
        for process in &self.processes {
            process.ready().await;
        }
        loop {
            let begun = over.elapsed();
            let rate = self.crowd.rate(WINDOW).await;
            if rate * 2 >= before {
                return begun;
            }
            assert!(begun < RECOVERY, "{name}: {rate} registrations in {WINDOW:?}, {before} before");
        }
    }

    async fn end(mut self, name: &str) {
        let registered = self.crowd.end().await;
        for (id, gateway) in &registered {
            let ours = gateway.agents().iter().filter(|agent| agent.id.starts_with("agent-")).count();
            assert_eq!((ours, gateway.messages().len()), (1, 1), "{name}: {id}");
        }
        let registered: BTreeSet<String> = registered.into_iter().map(|(id, _)| id).collect();
        let store = self.database.open().await;
        let organization = store.organizations().await.unwrap().remove(0).id;
        assert_registered_once(store.as_ref(), organization, &registered).await;
        let verified = self.fleet.mission_control(&["events", "verify"]).output().unwrap();
        assert_eq!(verified.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&verified.stdout));
        for process in &mut self.processes {
            process.terminate();
        }
        for process in &mut self.processes {
            assert_eq!(process.ended().await, Some(0), "{name}: {}", process.name);
        }
    }
}
