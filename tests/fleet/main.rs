//! Many processes on one database, killed, stopped and started again, and a database that goes away.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what is not there must fail the test"
)]
#![expect(clippy::print_stdout, reason = "a measured time is worth more than that it was short enough")]

mod backup;
mod drain;
mod layout;
mod migrate;
mod outage;
mod rotation;
mod shutdown;
mod storm;
mod takeover;

use std::{sync::Arc, time::Duration};

use harness::{
    databases::{Cluster, ServerDatabase},
    fake_gateway::FakeGateway,
    fleet::{Fleet, Process},
};
use shared::{ids::OrganizationId, store::Store};

/// A work that is handed back must not be taken up by the lease's end, which is this far away at least when it begins.
const LEASE: Duration = Duration::from_secs(8);

/// A fleet on a database of its own, with a store to look behind it.
struct Home {
    fleet: Fleet,
    database: ServerDatabase,
}

/// On the server that the tests of this process share, and without a schema: the processes bring it.
async fn home() -> Home {
    home_on(&Cluster::of_this_process().await).await
}

async fn home_on(cluster: &Arc<Cluster>) -> Home {
    let database = cluster.empty_database().await;
    Home { fleet: Fleet::on(database.url()), database }
}

/// The only organization.
async fn organization(store: &dyn Store) -> OrganizationId {
    store.organizations().await.unwrap().remove(0).id
}

/// The process among these that holds the one running job. A worker's name carries its process id.
async fn holder<'a>(store: &dyn Store, workers: &'a mut [Process]) -> &'a mut Process {
    let queued = store.jobs().await.unwrap();
    let (worker, _) = queued.iter().find_map(|queued| queued.leased.clone()).expect("a job is held");
    let is_holder = |process: &Process| worker.contains(&format!("-{}-", process.id()));
    workers.iter_mut().find(|process| is_holder(process)).expect("one of these holds it")
}

/// Starts them together, and waits until each is ready.
async fn started(processes: &mut [&mut Process]) {
    for process in processes.iter_mut() {
        process.start();
    }
    for process in processes {
        process.ready().await;
    }
}

/// Agents that registrations made on a gateway.
fn agents(gateway: &FakeGateway) -> usize {
    gateway.agents().iter().filter(|agent| agent.id.starts_with("agent-")).count()
}

/// Waits for a condition.
async fn until(what: &str, limit: Duration, condition: impl Fn() -> bool) {
    let reached = tokio::time::timeout(limit, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(reached.await.is_ok(), "not within {limit:?}: {what}");
}
