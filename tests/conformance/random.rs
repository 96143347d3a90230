//! Ten thousand random operations on each database, through the product's own code; then the read models once more from
//! the log alone, against those that grew with it.

mod operations;

use std::{cell::RefCell, collections::BTreeSet};

use harness::databases::TestStore;
use operations::{Installation, Operation};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, RngSeed, TestRunner},
};
use shared::{
    domain::{gateway, organization},
    rebuild::rebuild,
    store::{Difference, Pace, Swap},
    verify::{Verdict, verify},
};

use crate::backends;

const CASES: u32 = 10;
const OPERATIONS_EACH: usize = 1_000;
/// Operations that are under way together, so that their commits share transactions and get in each other's way.
const AT_ONCE: usize = 50;

type Tables = Vec<(&'static str, Vec<String>)>;

async fn dump(test: &TestStore) -> Tables {
    let mut tables = vec![];
    for table in Difference::PROJECTIONS {
        tables.push((table, test.dump(table).await));
    }
    tables
}

/// Does the operations, makes the read models again in both ways, and tells the names of the events that were written.
async fn live_and_rebuild(name: &str, test: &TestStore, operations: &[Operation]) -> BTreeSet<String> {
    let store = test.store.as_ref();
    let installation = Installation::found(store).await;
    for some in operations.chunks(AT_ONCE) {
        futures_util::future::join_all(some.iter().map(|operation| installation.perform(*operation))).await;
    }
    let verdict = verify(store).await.unwrap();
    assert!(matches!(verdict, Verdict::Intact { .. }), "{name}: {verdict:?}");

    let live = dump(test).await;
    let rows: Vec<u64> = live.iter().map(|(_, rows)| rows.len().try_into().unwrap()).collect();
    let compared = rebuild(store, (Swap::No, Pace::Fast), |_| {}).await.unwrap();
    assert!(compared.iter().all(|difference| difference.differing == 0), "{name}: {compared:?}");
    assert_eq!(compared.iter().map(|difference| difference.rows).collect::<Vec<_>>(), rows, "{name}");

    for table in Difference::PROJECTIONS {
        test.execute(&format!("delete from {table}")).await;
    }
    rebuild(store, (Swap::Yes, Pace::Steady), |_| {}).await.unwrap();
    for ((table, before), (_, after)) in live.iter().zip(dump(test).await) {
        assert_eq!(*before, after, "{name}: {table}");
    }
    let events = store.log_page(0, u32::MAX).await.unwrap();
    events.into_iter().map(|event| event.event_type).collect()
}

#[test]
fn after_ten_thousand_random_operations_a_rebuilt_store_equals_the_live_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let written = RefCell::new(BTreeSet::new());
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        max_shrink_iters: 32,
        ..Config::default()
    };
    let operation = (any::<u16>(), any::<u16>(), any::<u16>());
    let run = TestRunner::new(config).run(&vec(operation, OPERATIONS_EACH), |operations| {
        let names = runtime.block_on(async {
            let mut names = BTreeSet::new();
            for (name, test) in backends().await {
                names.extend(live_and_rebuild(name, &test, &operations).await);
            }
            names
        });
        written.borrow_mut().extend(names);
        Ok(())
    });
    run.unwrap();
    // Of what is never written nothing was proved.
    let all = gateway::Event::NAMES.iter().chain(&organization::Event::NAMES);
    let missing: Vec<&&str> = all.filter(|name| !written.borrow().contains(**name)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}
