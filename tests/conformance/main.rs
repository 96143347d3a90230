//! What every store does, written against the trait. A backend is one line in [`backends`].
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken store must stop the test"
)]

mod commits;
mod fleet;
mod log;
mod long_queue;
mod outage;
mod probes;
mod proofs;
mod queue;
mod random;
mod readers;
mod rebuilds;
mod registry;
mod rotation;
mod views;

use std::{future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use harness::databases::{ServerDatabase, TestStore, postgres, sqlite};
use shared::{
    commit::Commit,
    envelope::{Actor, Metadata, NewEvent, StreamId},
    ids::{EventId, GatewayId, JobId, OperationId, OrganizationId},
    job::{Job, Kind},
    store::Store,
};

/// Every backend, with its name.
async fn backends() -> Vec<(&'static str, TestStore)> {
    vec![("sqlite", sqlite().await), ("postgres", postgres().await)]
}

/// Every backend that several processes may share, with its name.
async fn shared_databases() -> Vec<(&'static str, ServerDatabase)> {
    vec![("postgres", harness::databases::shared().await)]
}

/// As many processes as a backend allows, on one database.
struct Fleet {
    stores: Vec<Arc<dyn Store>>,
    _embedded: Option<TestStore>,
}

/// Every backend, with up to so many processes on it.
async fn fleets(processes: usize) -> Vec<(&'static str, Fleet)> {
    let mut fleets = vec![];
    let embedded = sqlite().await;
    fleets.push(("sqlite", Fleet { stores: vec![Arc::clone(&embedded.store)], _embedded: Some(embedded) }));
    for (name, database) in shared_databases().await {
        let mut stores = vec![];
        for _ in 0..processes {
            stores.push(database.open().await);
        }
        fleets.push((name, Fleet { stores, _embedded: None }));
    }
    fleets
}

/// Waits for what must happen, but not for ever.
async fn soon<T>(happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), happens).await.expect("it happens soon")
}

/// Looks again and again until something is so.
async fn until(is_so: impl AsyncFn() -> bool) {
    soon(async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).expect("an instant")
}

fn gateway(number: u128) -> GatewayId {
    GatewayId::from(uuid::Uuid::from_u128(number))
}

fn organization(number: u128) -> OrganizationId {
    OrganizationId::from(uuid::Uuid::from_u128(number))
}

fn event(number: u128) -> NewEvent {
    let metadata = Metadata::of(Actor::command_line());
    NewEvent {
        event_id: EventId::from(uuid::Uuid::from_u128(number)),
        event_type: "GatewayCreated".to_owned(),
        schema_version: 1,
        data: "{}".to_owned(),
        metadata: serde_json::to_string(&metadata).expect("metadata is JSON"),
    }
}

/// A commit of one event to a gateway's stream; `number` makes its event id.
fn append(stream: u128, expected: u64, number: u128) -> Commit {
    let mut commit = Commit::new(StreamId::from(gateway(stream)), Some(organization(1)), expected, at(0));
    commit.events.push(event(number));
    commit
}

fn job(number: u128, key: &str, run_at: DateTime<Utc>) -> Job {
    Job {
        id: JobId::from(uuid::Uuid::from_u128(number)),
        kind: Kind::ProvisionGateway,
        gateway: gateway(number),
        operation: OperationId::from(uuid::Uuid::from_u128(number)),
        gateway_key: key.to_owned(),
        run_at,
        attempt: 1,
        created_at: at(0),
        traceparent: None,
    }
}
