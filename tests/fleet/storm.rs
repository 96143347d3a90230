//! Five hundred registrations while each process of the fleet in turn is killed and started again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use harness::{
    fake_gateway::{FakeGateway, Options},
    fleet::{Client, Process, assert_registered_once},
};
use tokio::sync::Semaphore;

use crate::{agents, home, organization, until};

const GATEWAYS: usize = 500;
const CLIENTS: usize = 50;
/// Registrations between two kills, and after the last one.
const EACH: usize = 100;
/// How many of them have ended when the kill comes, while the rest runs or waits.
const BEFORE_KILL: usize = 40;
/// For a hundred of them, a lease that has to run out included.
const LIMIT: Duration = Duration::from_mins(1);

/// What the clients share.
struct Crowd {
    client: Client,
    gateways: Vec<FakeGateway>,
    next: AtomicUsize,
    done: AtomicUsize,
    may_begin: Semaphore,
}

impl Crowd {
    /// One client: a gateway after the other, as long as there are any.
    async fn register(self: Arc<Self>) -> Vec<String> {
        let mut registered = vec![];
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(gateway) = self.gateways.get(number) else { return registered };
            self.may_begin.acquire().await.unwrap().forget();
            let outcome = self.client.register(number, gateway).await;
            registered.push(outcome["id"].as_str().unwrap().to_owned());
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn have_done(&self, number: usize) {
        let what = format!("{number} registrations have ended");
        until(&what, LIMIT, || self.done.load(Ordering::Relaxed) >= number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_registrations_end_once_while_each_process_is_killed() {
    let home = home().await;
    // One API has a worker of its own, whose jobs are handed over in memory; the other one has none.
    let mut processes = vec![
        home.fleet.api("api-1", &[]),
        home.fleet.api("api-2", &[("NO_WORKER", "true")]),
        home.fleet.worker("worker-1", &[]),
        home.fleet.worker("worker-2", &[]),
        home.fleet.worker("worker-3", &[]),
    ];
    processes.iter_mut().for_each(Process::start);
    for process in &processes {
        process.ready().await;
    }
    let apis = processes.iter().take(2).map(|api| api.base.clone()).collect();
    let mut gateways = vec![];
    for _ in 0..GATEWAYS {
        gateways.push(FakeGateway::start(Options::default()).await);
    }
    let crowd = Arc::new(Crowd {
        client: Client::new(apis, home.fleet.owner.clone()),
        gateways,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        may_begin: Semaphore::new(EACH),
    });
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(Arc::clone(&crowd).register())).collect();
    for (index, process) in processes.iter_mut().enumerate() {
        crowd.have_done(index * EACH + BEFORE_KILL).await;
        process.kill();
        process.start();
        process.ready().await;
        crowd.may_begin.add_permits(EACH);
    }
    let mut registered = BTreeSet::new();
    for client in clients {
        registered.extend(client.await.unwrap());
    }
    let elapsed = started.elapsed();
    assert_eq!(registered.len(), GATEWAYS);
    let connects: usize = crowd.gateways.iter().map(FakeGateway::connects).sum();
    println!("{GATEWAYS} registrations in {elapsed:?}, over {connects} connections");
    for gateway in &crowd.gateways {
        assert_eq!((agents(gateway), gateway.messages().len()), (1, 1), "{}", gateway.url());
    }
    let store = home.database.open().await;
    let organization = organization(store.as_ref()).await;
    assert_registered_once(store.as_ref(), organization, &registered).await;
    let verified = home.fleet.mission_control(&["events", "verify"]).output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    for process in &mut processes {
        process.terminate();
    }
    for process in &mut processes {
        assert_eq!(process.ended().await, Some(0), "{}", process.name);
    }
}
