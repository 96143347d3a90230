//! SIGTERM: exit 0, and nothing is lost. What runs ends, or is handed back and taken up by another process at once.

use std::{sync::Arc, time::Duration};

use harness::{
    fake_gateway::{FakeGateway, HoldGuard, Options},
    fleet::{Client, Process},
    world::audit,
};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{Home, LEASE, agents, holder, home, organization, started, until};

/// For another process to take up what was handed back: much less than what is left of the lease then.
const AT_ONCE: Duration = Duration::from_secs(3);
/// How long a process waits for its own work where a test does not let that end.
const IMPATIENT: (&str, &str) = ("SHUTDOWN_TIMEOUT", "1s");
const NO_WORKER: (&str, &str) = ("NO_WORKER", "true");

/// A registration that hangs at the gateway.
struct Hanging {
    gateway: Arc<FakeGateway>,
    held: HoldGuard,
    outcome: JoinHandle<Value>,
}

impl Hanging {
    /// `number` says how the client asks: an odd one does not wait.
    async fn at(apis: &[&Process], home: &Home, number: usize) -> Self {
        let gateway = Arc::new(FakeGateway::start(Options::default()).await);
        let held = gateway.hold("agents.files.set");
        let client = Client::new(apis.iter().map(|api| api.base.clone()).collect(), home.fleet.owner.clone());
        let outcome = tokio::spawn({
            let gateway = Arc::clone(&gateway);
            async move { client.register(number, &gateway).await }
        });
        held.arrived().await;
        Self { gateway, held, outcome }
    }

    /// Waits until another worker has come as far; the calls of the first one are `before`.
    async fn is_taken_up(&self, before: usize) {
        until("another worker calls", AT_ONCE, || self.held.count() > before).await;
    }

    /// Lets it go on to its end, which it has once, over so many connections.
    async fn ends(self, home: &Home, connects: usize) {
        drop(self.held);
        let outcome = self.outcome.await.unwrap();
        assert_eq!(outcome["status"], "active", "{outcome:#}");
        let gateway = &self.gateway;
        assert_eq!((agents(gateway), gateway.messages().len(), gateway.connects()), (1, 1, connects));
        let store = home.database.open().await;
        audit(store.as_ref(), organization(store.as_ref()).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_hands_back_what_does_not_end_and_another_one_takes_it_up_at_once() {
    assert!(AT_ONCE < LEASE / 2);
    let home = home().await;
    let mut api = home.fleet.api("api", &[NO_WORKER]);
    let mut workers =
        [home.fleet.worker("worker-1", &[IMPATIENT]), home.fleet.worker("worker-2", &[IMPATIENT])];
    started(&mut [&mut api]).await;
    for worker in &mut workers {
        started(&mut [worker]).await;
    }
    let hanging = Hanging::at(&[&api], &home, 1).await;
    let store = home.database.open().await;
    let before = hanging.held.count();
    let worker = holder(store.as_ref(), &mut workers).await;
    worker.terminate();
    assert_eq!(worker.ended().await, Some(0));
    hanging.is_taken_up(before).await;
    hanging.ends(&home, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_finishes_what_ends_in_time() {
    let home = home().await;
    let (mut api, mut worker) = (home.fleet.api("api", &[NO_WORKER]), home.fleet.worker("worker", &[]));
    started(&mut [&mut api, &mut worker]).await;
    let hanging = Hanging::at(&[&api], &home, 1).await;
    worker.terminate();
    until("the worker has heard it", AT_ONCE, || worker.log().contains("stopping")).await;
    assert!(worker.is_running());
    hanging.ends(&home, 1).await;
    assert_eq!(worker.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_tells_who_waits_and_another_one_answers_with_the_outcome() {
    let home = home().await;
    let mut api = home.fleet.api("api-1", &[NO_WORKER]);
    let mut other = home.fleet.api("api-2", &[NO_WORKER]);
    let mut worker = home.fleet.worker("worker", &[]);
    started(&mut [&mut api, &mut other, &mut worker]).await;
    let gateway = Arc::new(FakeGateway::start(Options::default()).await);
    let held = gateway.hold("agents.files.set");
    let client = Client::new(vec![api.base.clone()], home.fleet.owner.clone());
    let waiting = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { client.post(&gateway, "wait=30").await }
    });
    held.arrived().await;
    api.terminate();
    assert_eq!(api.ended().await, Some(0));
    let (status, operation) = waiting.await.unwrap().unwrap();
    assert_eq!(status, 202, "{operation:#}");
    drop(held);
    let client = Client::new(vec![other.base.clone()], home.fleet.owner.clone());
    let outcome = client.outcome(operation["id"].as_str().unwrap()).await;
    assert_eq!(outcome["status"], "active", "{outcome:#}");
    assert_eq!((agents(&gateway), gateway.connects()), (1, 1));
    for process in [&mut other, &mut worker] {
        process.terminate();
        assert_eq!(process.ended().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_hands_back_the_work_of_its_own_worker() {
    let home = home().await;
    let mut server = home.fleet.api("server", &[IMPATIENT]);
    let mut api = home.fleet.api("api", &[NO_WORKER]);
    started(&mut [&mut server, &mut api]).await;
    // The first request goes to the server, which hands the job to its own worker.
    let hanging = Hanging::at(&[&server, &api], &home, 0).await;
    let mut worker = home.fleet.worker("worker", &[]);
    started(&mut [&mut worker]).await;
    let before = hanging.held.count();
    server.terminate();
    assert_eq!(server.ended().await, Some(0));
    hanging.is_taken_up(before).await;
    hanging.ends(&home, 2).await;
}
