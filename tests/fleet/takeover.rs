//! A worker that is killed is replaced by another one.

use std::time::{Duration, Instant};

use harness::{
    fake_gateway::{FakeGateway, Options},
    fleet::Client,
    world::audit,
};

use crate::{agents, holder, home, organization, until};

/// What the service promises.
const PROMISED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_killed_worker_is_taken_over_within_ten_seconds() {
    let home = home().await;
    let mut api = home.fleet.api("api", &[("NO_WORKER", "true")]);
    let mut workers = [home.fleet.worker("worker-1", &[]), home.fleet.worker("worker-2", &[])];
    api.start();
    for worker in &mut workers {
        worker.start();
    }
    api.ready().await;
    for worker in &workers {
        worker.ready().await;
    }
    let gateway = FakeGateway::start(Options::default()).await;
    let held = gateway.hold("agents.files.set");
    let client = Client::new(vec![api.base.clone()], home.fleet.owner.clone());
    let registration = tokio::spawn({
        let client = client.clone();
        let gateway = std::sync::Arc::new(gateway);
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
