//! Whole stories: real router, real worker, real database, a fake gateway on a real socket, and faults.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what is not there must fail the test"
)]

mod addresses;
mod check_in;
mod crowd;
mod faults;
mod logs;
mod metrics;
mod monitor;
mod monitor_load;
mod operator;
mod outages;
mod pairing;
mod process;
mod registration;
mod roots;
mod secrets;
mod silence;

use std::sync::Arc;

use harness::{
    databases::{TestStore, postgres, sqlite},
    world::{Setup, World},
};

/// An installation whose database is gone when the test is over.
struct Home {
    world: World,
    _store: TestStore,
}

/// One installation per backend, with its name and the defaults.
async fn homes() -> Vec<(&'static str, Home)> {
    homes_with(&Setup::default()).await
}

/// One installation per backend, with its name.
async fn homes_with(setup: &Setup) -> Vec<(&'static str, Home)> {
    let mut homes = vec![];
    for (name, store) in [("sqlite", sqlite().await), ("postgres", postgres().await)] {
        let world = World::with(Arc::clone(&store.store), setup.clone()).await;
        homes.push((name, Home { world, _store: store }));
    }
    homes
}
