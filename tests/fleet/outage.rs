//! The database is away when the processes start, and goes away later: no process ends, each says so, none loses work.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{
    databases::{Cluster, Durability},
    fake_gateway::{FakeGateway, Options},
    fleet::{Client, Process},
    world::audit,
};

use crate::{agents, home_on, organization};

/// What the service promises: unready this soon after the database went, ready this soon after it came.
const PROMISED: Duration = Duration::from_secs(5);
/// Long enough for every pause between two tries to have reached its longest.
const LONG_AWAY: Duration = Duration::from_secs(8);

async fn all_are(ready: u16, processes: &[Process]) {
    let since = Instant::now();
    for process in processes {
        process.until("/readyz", ready).await;
        assert!(since.elapsed() < PROMISED, "{}: {ready} only after {:?}", process.name, since.elapsed());
    }
    println!("{ready} after {:?}", since.elapsed());
}

/// Nothing ends, and everything says that it lives and is not ready.
async fn all_wait(processes: &mut [Process], time: Duration) {
    for process in processes.iter_mut() {
        process.until("/healthz", 200).await;
    }
    let since = Instant::now();
    while since.elapsed() < time {
        for process in processes.iter_mut() {
            assert!(process.is_running(), "{} has ended:\n{}", process.name, process.log());
            assert_eq!(process.status("/healthz").await, Some(200), "{}", process.name);
            assert_eq!(process.status("/readyz").await, Some(503), "{}", process.name);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_waits_for_its_database_at_the_start_and_later() {
    let cluster = Arc::new(Cluster::start(Durability::Pretended).await);
    let home = home_on(&cluster).await;
    cluster.crash();
    let mut fleet = [
        home.fleet.api("api-1", &[]),
        home.fleet.api("api-2", &[("NO_WORKER", "true")]),
        home.fleet.worker("worker", &[]),
    ];
    fleet.iter_mut().for_each(Process::start);
    all_wait(&mut fleet, LONG_AWAY).await;
    cluster.come_up().await;
    all_are(200, &fleet).await;

    let gateway = Arc::new(FakeGateway::start(Options::default()).await);
    let held = gateway.hold("agents.files.set");
    let apis = fleet.iter().take(2).map(|api| api.base.clone()).collect();
    let client = Client::new(apis, home.fleet.owner.clone());
    let registration = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { client.register(0, &gateway).await }
    });
    held.arrived().await;
    cluster.crash();
    all_are(503, &fleet).await;
    // What comes of it cannot be recorded now.
    drop(held);
    all_wait(&mut fleet, Duration::from_secs(1)).await;
    cluster.come_up().await;
    all_are(200, &fleet).await;
    let outcome = registration.await.unwrap();
    assert_eq!(outcome["status"], "active", "{outcome:#}");
    assert_eq!((agents(&gateway), gateway.messages().len(), gateway.connects()), (1, 1, 1));
    let store = home.database.open().await;
    audit(store.as_ref(), organization(store.as_ref()).await).await;
    for process in &mut fleet {
        process.terminate();
    }
    for process in &mut fleet {
        assert_eq!(process.ended().await, Some(0), "{}", process.name);
    }
}
