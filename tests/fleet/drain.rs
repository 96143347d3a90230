//! The registry of workers, and a worker that drains, beside running processes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{
    fake_gateway::{FakeGateway, Options},
    fleet::{Client, Fleet, Process},
    world::audit,
};
use serde_json::Value;

use crate::{agents, holder, home, organization};

/// For a worker to report, or to be missed: a few rounds of its rhythm of 2.5 s, or the 10 s of silence.
const LIMIT: Duration = Duration::from_secs(30);

fn run(fleet: &Fleet, arguments: &[&str], code: i32) -> String {
    let output = fleet.mission_control(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    out.into_owned() + &err
}

fn list(fleet: &Fleet) -> Vec<Value> {
    let out = run(fleet, &["workers", "list", "--json"], 0);
    out.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `workers list` says of a process, once it says so.
async fn listed(fleet: &Fleet, process: &Process, state: &str) -> Value {
    let started = Instant::now();
    loop {
        let workers = list(fleet);
        let found = workers.iter().find(|worker| worker["pid"] == process.id());
        if let Some(found) = found.filter(|found| found["state"] == state) {
            return found.clone();
        }
        assert!(started.elapsed() < LIMIT, "{} is not {state}: {workers:#?}", process.name);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_ends_its_job_and_takes_no_more_until_it_is_resumed() {
    let home = home().await;
    let fleet = &home.fleet;
    let mut api = fleet.api("api", &[("NO_WORKER", "true")]);
    let mut workers = [fleet.worker("worker-1", &[]), fleet.worker("worker-2", &[])];
    api.start();
    api.ready().await;
    for worker in &mut workers {
        worker.start();
        worker.ready().await;
        let seen = listed(fleet, worker, "working").await;
        assert_eq!(
            (&seen["version"], &seen["concurrency"]),
            (&env!("CARGO_PKG_VERSION").into(), &256.into())
        );
    }
    assert_eq!(list(fleet).len(), 2, "the API runs no jobs and is no worker");
    let client = Client::new(vec![api.base.clone()], fleet.owner.clone());
    let first = Arc::new(FakeGateway::start(Options::default()).await);
    let held = first.hold("agents.files.set");
    let registration = tokio::spawn({
        let (client, first) = (client.clone(), Arc::clone(&first));
        async move { client.register(1, &first).await }
    });
    held.arrived().await;
    let store = home.database.open().await;
    let busy = holder(store.as_ref(), &mut workers).await.id();
    workers.sort_by_key(|worker| worker.id() != busy);
    let [mut busy, mut other] = workers;
    let id = listed(fleet, &busy, "working").await["id"].as_str().unwrap().to_owned();
    run(fleet, &["workers", "drain", &id, "--reason", "a test"], 0);
    let seen = listed(fleet, &busy, "draining").await;
    assert_eq!(seen["draining"], true, "{seen}");
    // The other one does what comes, however often it comes.
    for number in 2..6 {
        let gateway = FakeGateway::start(Options::default()).await;
        assert_eq!(client.register(number, &gateway).await["status"], "active");
    }
    drop(held);
    assert_eq!(registration.await.unwrap()["status"], "active");
    assert_eq!((agents(&first), first.connects()), (1, 1), "it was not handed to another worker");
    assert!(run(fleet, &["workers", "drain", &id, "--wait"], 0).contains("is drained"));
    // With nobody else there, its order is all that keeps it from taking the next job.
    other.kill();
    let last = Arc::new(FakeGateway::start(Options::default()).await);
    let registration = tokio::spawn({
        let (client, last) = (client.clone(), Arc::clone(&last));
        async move { client.register(7, &last).await }
    });
    listed(fleet, &other, "lost").await;
    assert_eq!(last.dials(), 0);
    run(fleet, &["workers", "resume", &id], 0);
    assert_eq!(registration.await.unwrap()["status"], "active");
    listed(fleet, &busy, "working").await;
    assert!(run(fleet, &["workers", "drain", "nobody"], 2).contains("workers list"));
    let events = run(fleet, &["events", "list", "--stream", "queue"], 0);
    let told = |name: &str| events.matches(&format!("\"type\":\"{name}\"")).count();
    assert_eq!((told("WorkerDrained"), told("WorkerResumed")), (1, 1), "{events}");
    assert!(events.contains("\"id\":\"command-line\""), "{events}");
    busy.terminate();
    assert_eq!(busy.ended().await, Some(0));
    assert_eq!(list(fleet).len(), 1, "who ends leaves, who was killed is still told");
    audit(store.as_ref(), organization(store.as_ref()).await).await;
}
