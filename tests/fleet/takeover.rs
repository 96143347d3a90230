//! A worker that is killed, or that stands still, is replaced by another one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{
    fake_gateway::{FakeGateway, Fault, Options},
    fleet::{Client, Process},
    world::audit,
};

use crate::{Home, agents, holder, home, organization, started, until};

/// What the service promises.
const PROMISED: Duration = Duration::from_secs(10);

/// An API that works for nobody, and two workers.
async fn two_workers(home: &Home) -> (Process, [Process; 2]) {
    let mut api = home.fleet.api("api", &[("NO_WORKER", "true")]);
    let mut workers = [home.fleet.worker("worker-1", &[]), home.fleet.worker("worker-2", &[])];
    let [first, second] = &mut workers;
    started(&mut [&mut api, first, second]).await;
    (api, workers)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_killed_worker_is_taken_over_within_ten_seconds() {
    let home = home().await;
    let (api, mut workers) = two_workers(&home).await;
    let gateway = FakeGateway::start(Options::default()).await;
    let held = gateway.hold("agents.files.set");
    let client = Client::new(vec![api.base.clone()], home.fleet.owner.clone());
    let registration = tokio::spawn({
        let client = client.clone();
        let gateway = Arc::new(gateway);
        async move {
            let outcome = client.register(1, &gateway).await;
            (outcome, gateway)
        }
    });
    held.arrived().await;
    let store = home.database.open().await;
    let calls_before = held.count();
    let worker = holder(store.as_ref(), &mut workers).await;
    worker.kill();
    let killed = Instant::now();
    until("another worker calls", PROMISED, || held.count() > calls_before).await;
    println!("taken over after {:?}", killed.elapsed());
    drop(held);
    let (outcome, gateway) = registration.await.unwrap();
    assert_eq!(outcome["status"], "active", "{outcome:#}");
    assert_eq!((agents(&gateway), gateway.messages().len(), gateway.connects()), (1, 1, 2));
    audit(store.as_ref(), organization(store.as_ref()).await).await;
}

/// How long a worker waits for the answer to one call (DESIGN.md §6).
const CALL_LIMIT: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stood_still_touches_nothing_of_what_another_one_has_made() {
    let home = home().await;
    let (api, mut workers) = two_workers(&home).await;
    let mute = Fault::MuteAt("agents.files.set".to_owned());
    let gateway = Arc::new(FakeGateway::start(Options::default().with(mute)).await);
    let client = Client::new(vec![api.base.clone()], home.fleet.owner.clone());
    let registration = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { client.register(1, &gateway).await }
    });
    let called = |method: &str| gateway.calls().iter().filter(|(called, _)| called == method).count();
    until("the files are written", PROMISED, || called("agents.files.set") > 0).await;
    let store = home.database.open().await;
    let worker = holder(store.as_ref(), &mut workers).await;
    worker.stop();
    let stopped = Instant::now();
    gateway.set_faults(vec![]);
    let outcome = registration.await.unwrap();
    assert_eq!(outcome["status"], "active", "{outcome:#}");
    // When it goes on, the answer that it waited for is overdue: its attempt has failed, and is to be cleaned up.
    tokio::time::sleep((CALL_LIMIT + Duration::from_secs(1)).saturating_sub(stopped.elapsed())).await;
    worker.go_on();
    until("its delivery ends", PROMISED, || worker.log().contains("outcome=")).await;
    assert_eq!((agents(&gateway), gateway.messages().len(), called("agents.delete")), (1, 1, 0));
    audit(store.as_ref(), organization(store.as_ref()).await).await;
}
