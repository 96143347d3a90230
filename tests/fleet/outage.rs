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

use crate::{agents, home, home_on, organization, started};

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

/// A table that a job reads before it begins, while the queue's own tables can be used.
async fn a_job_begins_although_it_could_not_read(table: &str) {
    let home = home().await;
    let mut api = home.fleet.api("api", &[("NO_WORKER", "true")]);
    let mut worker = home.fleet.worker("worker", &[]);
    started(&mut [&mut api, &mut worker]).await;
    worker.stop();
    let gateway = FakeGateway::start(Options::default()).await;
    let client = Client::new(vec![api.base.clone()], home.fleet.owner.clone());
    let (status, operation) = client.post(&gateway, "respond-async").await.unwrap();
    assert_eq!(status, 202, "{operation:#}");
    let locked = home.database.begin_lock_of(table).await;
    worker.go_on();
    // For longer than the worker waits for an answer of the database.
    tokio::time::sleep(LONG_AWAY).await;
    drop(locked);
    let since = Instant::now();
    let outcome = client.outcome(operation["id"].as_str().unwrap()).await;
    println!("{table}: registered {:?} after it could be read", since.elapsed());
    assert_eq!(outcome["status"], "active", "{outcome:#}");
    // A lease and a claim at most; without trying again it was a minute.
    assert!(since.elapsed() < Duration::from_secs(15), "{table}: only after {:?}", since.elapsed());
    assert_eq!((agents(&gateway), gateway.connects()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_read_for_a_while_begins_as_soon_as_it_can() {
    a_job_begins_although_it_could_not_read("events").await;
    a_job_begins_although_it_could_not_read("secrets").await;
}
