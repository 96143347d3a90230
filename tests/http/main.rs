//! One snapshot per endpoint and per problem, and the rules of validation, over real HTTP.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "what is not there must fail the test")]

mod access;
mod agents;
mod asynchronous;
mod authorization;
mod endpoints;
mod events;
mod failures;
mod isolation;
mod lifecycle;
mod openapi;
mod rates;
mod security;
mod streams;
mod sync;
mod update;
mod validation;
mod waiting;

use harness::{
    databases::{TestStore, postgres, sqlite},
    fake_gateway::{FakeGateway, Options},
    world::{Answer, Setup, World},
};

/// An installation whose database is gone when the test is over.
struct Home {
    world: World,
    store: TestStore,
}

/// Everything here is run on each database: on PostgreSQL by the target `http_postgres`.
async fn home() -> Home {
    home_with(Setup::default()).await
}

async fn home_with(setup: Setup) -> Home {
    let store = if env!("CARGO_CRATE_NAME") == "http_postgres" { postgres().await } else { sqlite().await };
    Home { world: World::with(std::sync::Arc::clone(&store.store), setup).await, store }
}

/// A fake gateway of the newest version, with the token `gateway-token`.
async fn gateway() -> FakeGateway {
    FakeGateway::start(Options::default()).await
}

/// Status, the headers that the contract names, and the body, with ids, times and ports replaced.
#[track_caller]
fn snapshot(name: &str, answer: &Answer) {
    let names = [
        "content-type",
        "location",
        "operation-location",
        "etag",
        "retry-after",
        "www-authenticate",
        "allow",
        "vary",
        "preference-applied",
        "x-content-type-options",
    ];
    let given = names.iter().filter(|name| !answer.header(name).is_empty());
    let headers: Vec<String> = given.map(|name| format!("{name}: {}\n", answer.header(name))).collect();
    let body = if answer.json.is_null() { answer.text.clone() } else { format!("{:#}", answer.json) };
    let text = format!("{}\n{}\n{body}", answer.status, headers.concat());
    insta::with_settings!({
        filters => vec![
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[uuid]"),
            (r"agent-[0-9A-Z]{26}", "[AGENT-ID]"),
            (r"agent-[0-9a-z]{26}", "[agent-id]"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "[time]"),
            (r"127\.0\.0\.1(:| )\d+", "127.0.0.1$1[port]"),
            (r"\b[0-9a-f]{64}\b", "[hash]"),
            (r#""latency_ms": \d+"#, r#""latency_ms": "[ms]""#),
        ],
        snapshot_path => "snapshots",
        prepend_module_to_snapshot => false,
    }, {
        insta::assert_snapshot!(name, text);
    });
}
