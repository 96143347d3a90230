//! Several processes on one database: what one writes the others hear of, and none takes what another one has.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use shared::{
    chain::chain,
    commit::{Commit, Finish, Then},
    envelope::StreamId,
    job::Lease,
    store::{Claim, Location, Store, StoreError},
    verify::{Verdict, verify},
};
use tokio::time::timeout;

use crate::{append, at, fleets, gateway, job, shared_databases, soon, until};

const LEASE: Duration = Duration::from_secs(8);

fn claim(permits: u32) -> Claim {
    Claim { worker: "w".to_owned(), permits, lease: LEASE, now: at(0) }
}

async fn finish(store: &dyn Store, lease: &Lease, number: u128) {
    let mut commit = append(lease.job.gateway.uuid().as_u128(), 1, number);
    commit.finish = Some(Finish { job: lease.job.id, token: lease.token, then: Then::Delete });
    store.commit(commit).await.unwrap();
}

/// Whether one process hears that another one handed a job back, which only a notification can tell.
async fn hears(listening: &dyn Store, telling: &dyn Store) -> bool {
    let lease = telling.claim(claim(1)).await.unwrap().remove(0);
    telling.release(&[(lease.job.id, lease.token)]).await.unwrap();
    timeout(Duration::from_millis(200), listening.enqueued().notified()).await.is_ok()
}

#[tokio::test]
async fn a_commit_of_another_process_moves_the_position_and_wakes_the_worker() {
    for (name, database) in shared_databases().await {
        let (here, there) = (database.open().await, database.open().await);
        let (mut positions, enqueued) = (here.positions(), here.enqueued());
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![job(1, "a", at(0))];
        there.commit(commit).await.unwrap();
        soon(positions.wait_for(|position| *position == 1)).await.unwrap();
        soon(enqueued.notified()).await;
        until(async || hears(here.as_ref(), there.as_ref()).await).await;
        assert_eq!(here.head().await.unwrap().position, 1, "{name}");
    }
}

#[tokio::test]
async fn commits_of_another_process_are_told_and_not_only_found_by_the_timer() {
    for (name, database) in shared_databases().await {
        let (here, there) = (database.open().await, database.open().await);
        let mut positions = here.positions();
        there.commit(append(100, 0, 100)).await.unwrap();
        soon(positions.wait_for(|position| *position == 1)).await.unwrap();
        // The timer would need a second for each.
        let told = async {
            for number in 1..=20_u64 {
                there.commit(append(number.into(), 0, number.into())).await.unwrap();
                positions.wait_for(|position| *position == number + 1).await.unwrap();
            }
        };
        assert!(timeout(Duration::from_secs(10), told).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn the_end_of_a_job_wakes_who_waits_for_its_gateway() {
    for (name, database) in shared_databases().await {
        let (here, there) = (database.open().await, database.open().await);
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![job(1, "a", at(0)), job(2, "a", at(0))];
        there.commit(commit).await.unwrap();
        until(async || hears(here.as_ref(), there.as_ref()).await).await;
        let lease = there.claim(claim(9)).await.unwrap().remove(0);
        // News come in order: what was told before this position has been heard, and is forgotten.
        let position = there.commit(append(2, 0, 2)).await.unwrap().position;
        soon(here.positions().wait_for(|known| *known == position)).await.unwrap();
        here.enqueued().notified().now_or_never();
        // Nothing is appended, so that no new position can tell.
        let mut end = Commit::new(StreamId::from(gateway(1)), None, 1, at(0));
        end.finish = Some(Finish { job: lease.job.id, token: lease.token, then: Then::Delete });
        there.commit(end).await.unwrap();
        soon(here.enqueued().notified()).await;
        assert_eq!(here.claim(claim(9)).await.unwrap().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_lease_that_ran_out_is_not_taken_over_while_its_outcome_is_being_written() {
    for (name, database) in shared_databases().await {
        let (here, there) = (database.open().await, database.open().await);
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![job(1, "a", at(0))];
        here.commit(commit).await.unwrap();
        let short = Claim { lease: Duration::from_millis(1), ..claim(1) };
        let lease = here.claim(short).await.unwrap().remove(0);
        until(async || there.due_in(at(0)).await.unwrap() == Some(Duration::ZERO)).await;
        let events = database.begin_hold_of_events().await;
        let finishing = tokio::spawn({
            let here = Arc::clone(&here);
            async move { finish(here.as_ref(), &lease, 2).await }
        });
        until(async || database.has_waiting_session().await).await;
        assert!(there.claim(claim(9)).await.unwrap().is_empty(), "{name}");
        events.commit().await;
        soon(finishing).await.unwrap();
        assert!(there.jobs().await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_listener_that_is_cut_off_is_replaced_and_positions_still_move() {
    for (name, database) in shared_databases().await {
        let (here, there) = (database.open().await, database.open().await);
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![job(1, "a", at(0))];
        there.commit(commit).await.unwrap();
        until(async || hears(here.as_ref(), there.as_ref()).await).await;
        assert!(database.cut_listeners().await > 0, "{name}: nobody listened");
        there.commit(append(2, 0, 2)).await.unwrap();
        soon(here.positions().wait_for(|position| *position == 2)).await.unwrap();
        until(async || hears(here.as_ref(), there.as_ref()).await).await;
    }
}

#[tokio::test]
async fn two_workers_never_hold_jobs_of_one_gateway() {
    for (name, database) in shared_databases().await {
        let stores = [database.open().await, database.open().await, database.open().await];
        let held = Arc::new(Mutex::new(HashSet::new()));
        let done = Arc::new(Mutex::new(HashSet::new()));
        let mut workers = vec![];
        for worker in 0..12_usize {
            let store = Arc::clone(&stores[worker % stores.len()]);
            let (held, done) = (Arc::clone(&held), Arc::clone(&done));
            workers.push(tokio::spawn(async move {
                while done.lock().unwrap().len() < 240 {
                    let leases = store.claim(claim(3)).await.unwrap();
                    if leases.is_empty() {
                        let _ = timeout(Duration::from_millis(20), store.enqueued().notified()).await;
                    }
                    for lease in leases {
                        let key = lease.job.gateway_key.clone();
                        assert!(held.lock().unwrap().insert(key.clone()), "{name}: {key} has two workers");
                        tokio::task::yield_now().await;
                        let number = lease.job.id.uuid().as_u128();
                        held.lock().unwrap().remove(&key);
                        finish(store.as_ref(), &lease, 1_000 + number).await;
                        assert!(done.lock().unwrap().insert(number), "{name}: job {number} ran twice");
                    }
                }
            }));
        }
        // New jobs come while others of their gateways are being taken.
        for number in 0..240 {
            let mut commit = append(number, 0, number);
            commit.jobs = vec![job(number, &format!("key {}", number % 7), at(0))];
            stores[0].commit(commit).await.unwrap();
        }
        for worker in workers {
            soon(worker).await.unwrap();
        }
        assert!(stores[0].jobs().await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_claim_that_meets_another_one_at_a_gateway_takes_nothing_of_it() {
    for (name, database) in shared_databases().await {
        let store = database.open().await;
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![job(1, "a", at(0)), job(2, "a", at(1)), job(3, "b", at(2))];
        commit.recorded_at = at(10);
        store.commit(commit).await.unwrap();
        // A claim that sees no other job of the gateway has taken the second one, and is not done yet.
        let other = database.begin_claim(job(2, "a", at(1)).id).await;
        let claiming = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.claim(claim(9)).await.unwrap() }
        });
        until(async || database.has_waiting_session().await).await;
        other.commit().await;
        let taken: Vec<u128> =
            soon(claiming).await.unwrap().iter().map(|lease| lease.job.id.uuid().as_u128()).collect();
        assert_eq!(taken, [3], "{name}");
    }
}

#[tokio::test]
async fn sixty_four_mixed_writers_get_along() {
    for (name, fleet) in fleets(3).await {
        let mut writers = vec![];
        for writer in 0..64_u128 {
            let store = Arc::clone(&fleet.stores[usize::try_from(writer).unwrap() % fleet.stores.len()]);
            writers.push(tokio::spawn(async move {
                for round in 0..10 {
                    if writer < 32 {
                        let number = writer * 100 + round + 1;
                        let mut commit = append(number, 0, number);
                        commit.jobs = vec![job(number, &format!("key {}", number % 40), at(0))];
                        store.commit(commit).await.unwrap();
                    } else {
                        work(store.as_ref(), 8).await;
                    }
                }
            }));
        }
        for writer in writers {
            timeout(Duration::from_mins(1), writer).await.expect("no writer waits for another").unwrap();
        }
        let store = fleet.stores[0].as_ref();
        while !store.jobs().await.unwrap().is_empty() {
            work(store, 64).await;
        }
        let verdict = verify(store).await.unwrap();
        assert!(matches!(verdict, Verdict::Intact { events: 640, .. }), "{name}: {verdict:?}");
    }
}

/// Takes jobs, renews all of them at once, and records their outcomes all at once: rows that others want as well.
async fn work(store: &dyn Store, permits: u32) {
    let leases = store.claim(claim(permits)).await.unwrap();
    let held: Vec<_> = leases.iter().rev().map(|lease| (lease.job.id, lease.token)).collect();
    let outcomes = leases
        .iter()
        .map(|lease| finish(store, lease, 1_000_000 + lease.job.id.uuid().as_u128()))
        .collect::<Vec<_>>();
    let (renewed, ..) =
        tokio::join!(store.renew(&held, LEASE, at(0)), futures_util::future::join_all(outcomes));
    renewed.unwrap();
}

#[tokio::test]
async fn replicas_may_bring_the_schema_up_to_date_at_once() {
    for (name, database) in shared_databases().await {
        let empty = database.cluster().empty_database().await;
        let location = empty.location();
        let opened = futures_util::future::join_all((0..4).map(|_| location.open())).await;
        for store in opened {
            let head = store.unwrap().head().await.unwrap();
            assert_eq!(head.position, 0, "{name}");
        }
    }
}

#[tokio::test]
async fn credentials_reach_no_error_and_no_debug() {
    for (name, database) in shared_databases().await {
        let (before, after) = database.url().split_once('@').unwrap();
        let (user, password) = before.rsplit_once(':').unwrap();
        let store = database.open().await;
        assert!(!format!("{store:?} {:?}", database.location()).contains(password), "{name}");
        let refused: Location = format!("{user}:hunter22@{after}").parse().unwrap();
        let error = refused.open().await.unwrap_err();
        assert!(matches!(error, StoreError::NotOpen { .. }), "{name}: {error:?}");
        let shown = format!("{} {error:?} {refused} {refused:?}", chain(&error));
        assert!(shown.contains("authentication failed") && !shown.contains("hunter22"), "{name}: {shown}");
    }
}
