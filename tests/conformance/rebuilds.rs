//! Read models made again from the log while it grows, and jobs that were lost.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use harness::databases::TestStore;
use shared::{
    clock::{Clock, SystemClock},
    domain::gateway::{Command, patience::Patience},
    envelope::Actor,
    execute::{Context, execute},
    ids::{GatewayId, OperationId, OrganizationId, RebuildId},
    install::found,
    job::Kind,
    rebuild::rebuild,
    register::{Desk, Registered, Registration, register},
    steer,
    store::{Difference, Pace, Store, Swap},
    token,
    vault::Vault,
};

use crate::backends;

async fn register_one(store: &dyn Store, organization: OrganizationId, number: usize) -> Registered {
    let vault = Vault::new(&[7; 32]);
    let desk = Desk { store, clock: &SystemClock, vault: &vault };
    let registration = Registration {
        name: format!("gateway {number}"),
        url: format!("ws://gateway-{number}.example:18789").parse().unwrap(),
        workspace_root: "/ws".to_owned(),
        token: None,
        allow_insecure_tls: false,
        disable_device_pairing: false,
        patience: Patience::Background,
    };
    let operation = OperationId::mint(SystemClock.now());
    register(desk, organization, registration, (operation, None), &context()).await.unwrap()
}

/// A hundred at once, in their order.
async fn register_many(
    store: &dyn Store,
    organization: OrganizationId,
    numbers: Range<usize>,
) -> Vec<Registered> {
    let registering = numbers.map(|number| register_one(store, organization, number));
    stream::iter(registering).buffered(100).collect().await
}

fn context() -> Context {
    Context::of(Actor::command_line())
}

async fn cancel(store: &dyn Store, registered: Registered) {
    let (by, reason) = ("ada".to_owned(), "on request".to_owned());
    let command = Command::Cancel { operation: registered.operation, by, reason };
    execute(store, &SystemClock, (registered.gateway, command), &context(), |_| {}).await.unwrap();
}

/// An installation with some history.
async fn lived(test: &TestStore) -> OrganizationId {
    let store = test.store.as_ref();
    assert!(found(store, &SystemClock, &token::api()).await.unwrap());
    let organization = store.organizations().await.unwrap().remove(0).id;
    for number in 0..6 {
        let registered = register_one(store, organization, number).await;
        if number % 2 == 0 {
            cancel(store, registered).await;
        }
    }
    let (actor, worker) = (Actor::command_line(), crate::registry::worker("w"));
    steer::pause(store, &SystemClock, &actor, "a test").await.unwrap();
    store.report(&worker, SystemClock.now()).await.unwrap();
    steer::drain(store, &SystemClock, &actor, ("w", "a test")).await.unwrap();
    organization
}

fn differing(differences: &[Difference]) -> Vec<(&str, u64)> {
    let differs = differences.iter().filter(|difference| difference.differing > 0);
    differs.map(|difference| (difference.projection, difference.differing)).collect()
}

#[tokio::test]
async fn a_rebuilt_store_equals_the_live_one() {
    for (name, test) in backends().await {
        lived(&test).await;
        let differences = rebuild(test.store.as_ref(), (Swap::No, Pace::Fast), |_| {}).await.unwrap();
        assert_eq!(differing(&differences), [], "{name}");
        let rows: Vec<u64> = differences.iter().map(|difference| difference.rows).collect();
        assert_eq!(rows, [0, 6, 0, 1, 1, 1, 1, 1], "{name}");
        assert!(differences.iter().map(|difference| difference.projection).eq(Difference::PROJECTIONS));
    }
}

#[tokio::test]
async fn what_differs_is_told_and_replaced_by_a_rebuild() {
    for (name, test) in backends().await {
        let organization = lived(&test).await;
        let before = test.store.operations_page(organization, None, None, 100).await.unwrap();
        test.execute("update operations set document = '{}' where status = 'pending'").await;
        test.execute("delete from members").await;
        test.execute("insert into organizations (id, name, created_at) values ('org-x', 'nobody', 0)").await;
        let wrong = [("operations", 3), ("organizations", 1), ("members", 1)];
        let looked = rebuild(test.store.as_ref(), (Swap::No, Pace::Fast), |_| {}).await.unwrap();
        assert_eq!(differing(&looked), wrong, "{name}");
        let swapped = rebuild(test.store.as_ref(), (Swap::Yes, Pace::Steady), |_| {}).await.unwrap();
        assert_eq!(differing(&swapped), wrong, "{name}");
        let again = rebuild(test.store.as_ref(), (Swap::No, Pace::Fast), |_| {}).await.unwrap();
        assert_eq!(differing(&again), [], "{name}");
        let after = test.store.operations_page(organization, None, None, 100).await.unwrap();
        assert_eq!(after, before, "{name}");
    }
}

#[tokio::test]
async fn what_differs_is_found_wherever_it_is() {
    for (name, test) in backends().await {
        let organization = lived(&test).await;
        let store = test.store.as_ref();
        for number in 100..250 {
            register_one(store, organization, number).await;
        }
        // The first, one in the middle, the last two; one too many between them and one after them all.
        let sorted = "select id from operations order by id";
        for place in ["limit 1", "limit 1 offset 80", "limit 2 offset 152"] {
            test.execute(&format!("delete from operations where id in ({sorted} {place})")).await;
        }
        for id in ["01000000-0000-7000-8000-000000000000", "ff000000-0000-7000-8000-000000000000"] {
            test.execute(&format!(
                "insert into operations (id, organization_id, gateway_id, status, created_at, document) \
                 values ('{id}', 'x', 'x', 'failed', 0, '{{}}')"
            ))
            .await;
        }
        let changed =
            format!("update operations set document = '{{}}' where id in ({sorted} limit 3 offset 60)");
        test.execute(&changed).await;
        for pace in [Pace::Steady, Pace::Fast] {
            let looked = rebuild(store, (Swap::No, pace), |_| {}).await.unwrap();
            assert_eq!(differing(&looked), [("operations", 9)], "{name} {pace:?}");
            assert_eq!(looked[1].rows, 154, "{name} {pace:?}");
        }
        let swapped = rebuild(store, (Swap::Yes, Pace::Steady), |_| {}).await.unwrap();
        assert_eq!(differing(&swapped), [("operations", 9)], "{name}");
        assert_eq!(differing(&rebuild(store, (Swap::No, Pace::Fast), |_| {}).await.unwrap()), [], "{name}");
    }
}

#[tokio::test]
async fn what_a_rebuild_left_behind_is_in_nobodys_way() {
    for (name, test) in backends().await {
        lived(&test).await;
        let store = test.store.as_ref();
        // As a process leaves it that was killed when its rebuild had ended, and its rows were not removed yet.
        let left = "insert into shadow_organizations (id, name, created_at) values ('org-x', 'nobody', 0)";
        test.execute(left).await;
        let differences = rebuild(store, (Swap::No, Pace::Steady), |_| {}).await.unwrap();
        assert_eq!(differing(&differences), [], "{name}");
        // The same row can be put there once more: nothing was left this time.
        test.execute(left).await;
        assert_eq!(differing(&rebuild(store, (Swap::Yes, Pace::Fast), |_| {}).await.unwrap()), [], "{name}");
    }
}

/// More streams than a rebuild keeps back before it writes: one of its stages waits for the other.
#[tokio::test]
async fn a_steady_rebuild_ends_although_writing_keeps_reading_waiting() {
    for (name, test) in backends().await {
        let organization = lived(&test).await;
        let store = test.store.as_ref();
        register_many(store, organization, 1_000..3_500).await;
        let rebuilt = rebuild(store, (Swap::No, Pace::Steady), |_| {});
        let differences = tokio::time::timeout(Duration::from_mins(2), rebuilt).await;
        let differences = differences.unwrap_or_else(|_| panic!("{name}: it never ends")).unwrap();
        assert_eq!(differing(&differences), [], "{name}");
        assert_eq!(differences[1].rows, 2_506, "{name}");
    }
}

/// More streams than a rebuild keeps in memory lie between: what happened in the first ones is read again.
#[tokio::test]
async fn a_stream_that_is_met_again_long_after_is_read_again() {
    for (name, test) in backends().await {
        let organization = lived(&test).await;
        let store = test.store.as_ref();
        let registered = register_many(store, organization, 1_000..7_500).await;
        for registered in registered.into_iter().take(100) {
            cancel(store, registered).await;
        }
        let differences = rebuild(store, (Swap::No, Pace::Fast), |_| {}).await.unwrap();
        assert_eq!(differing(&differences), [], "{name}");
        assert_eq!(differences[1].rows, 6_506, "{name}");
    }
}

#[tokio::test]
async fn a_rebuild_that_was_stopped_goes_on_where_it_was() {
    for (name, test) in backends().await {
        let organization = lived(&test).await;
        let store = test.store.as_ref();
        // As a process that was killed after its first step leaves it: filled up to there, and no further.
        let run = || RebuildId::mint(SystemClock.now());
        let killed = run();
        assert_eq!(store.shadow_begin(killed).await.unwrap(), 0, "{name}");
        let mut folder = shared::rebuild::Folder::default();
        let mut rows = vec![];
        for event in store.log_page(0, 4).await.unwrap() {
            rows.extend(folder.fold(&event).unwrap());
        }
        let rows = shared::store::plan::last_of_each(rows);
        assert!(store.shadow_fill(killed, rows, 0, 4).await.unwrap(), "{name}");
        assert!(!store.shadow_fill(killed, vec![], 0, 4).await.unwrap(), "{name}: nobody fills it twice");
        let other = run();
        assert_eq!(store.shadow_begin(other).await.unwrap(), 4, "{name}");
        // Rows of an older state would come after those of the one that went on, and stay.
        assert!(!store.shadow_fill(killed, vec![], 4, 4).await.unwrap(), "{name}: it is another's now");
        assert!(store.shadow_fill(other, vec![], 4, 4).await.unwrap(), "{name}");
        register_one(store, organization, 99).await;
        let mut reached = vec![];
        let differences =
            rebuild(store, (Swap::Yes, Pace::Steady), |position| reached.push(position)).await.unwrap();
        assert_eq!(differing(&differences), [], "{name}");
        assert_eq!(reached, [store.head().await.unwrap().position], "{name}");
    }
}

#[tokio::test]
async fn commits_go_on_during_a_rebuild() {
    for (name, test) in backends().await {
        let organization = lived(&test).await;
        let store = Arc::clone(&test.store);
        let writing = tokio::spawn(async move {
            for number in 100..130 {
                register_one(store.as_ref(), organization, number).await;
            }
        });
        let mut rebuilds = 0;
        while !writing.is_finished() {
            let differences = rebuild(test.store.as_ref(), (Swap::Yes, Pace::Steady), |_| {}).await.unwrap();
            assert_eq!(differing(&differences), [], "{name}");
            rebuilds += 1;
        }
        writing.await.unwrap();
        assert!(rebuilds > 0, "{name}");
        assert_eq!(
            test.store.operations_page(organization, None, None, 100).await.unwrap().len(),
            36,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_ends_although_one_commit_follows_the_other() {
    for (name, test) in backends().await {
        let organization = lived(&test).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (store, is_over) = (Arc::clone(&test.store), Arc::clone(&is_over));
                tokio::spawn(async move {
                    let mut number = 1_000 * (writer + 1);
                    while !is_over.load(Ordering::Relaxed) {
                        register_one(store.as_ref(), organization, number).await;
                        number += 1;
                    }
                })
            })
            .collect();
        for (swap, pace, wrong) in [
            (Swap::No, Pace::Fast, vec![]),
            (Swap::No, Pace::Steady, vec![]),
            (Swap::Yes, Pace::Fast, vec![]),
            (Swap::Yes, Pace::Fast, vec![("operations", 6)]),
        ] {
            if !wrong.is_empty() {
                // Those of before: of what is being written, a row is written once more.
                let ended = "update operations set document = '{}' where id in (select id from operations \
                             order by id limit 6)";
                test.execute(ended).await;
            }
            let rebuilt = rebuild(test.store.as_ref(), (swap, pace), |_| {});
            let differences = tokio::time::timeout(Duration::from_secs(30), rebuilt).await;
            let differences = differences.unwrap_or_else(|_| panic!("{name}: it never ends")).unwrap();
            assert_eq!(differing(&differences), wrong, "{name}");
        }
        is_over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_lost_queue_is_made_again() {
    for (name, test) in backends().await {
        lived(&test).await;
        let store = test.store.as_ref();
        let plain = async || {
            let queue = store.jobs().await.unwrap().into_iter();
            let mut jobs: Vec<(GatewayId, Kind)> =
                queue.map(|queued| (queued.job.gateway, queued.job.kind)).collect();
            jobs.sort_by_key(|(gateway, kind)| (*gateway, kind.as_str()));
            jobs
        };
        let before = plain().await;
        let waits = before.iter().filter(|(_, kind)| *kind == Kind::ProvisionGateway).count();
        assert_eq!(waits, 6, "{name}");
        let actor = Actor::command_line();
        let reconcile = async || steer::reconcile_for(store, &SystemClock, &actor).await.unwrap();
        assert_eq!(reconcile().await, [], "{name}");
        test.execute("delete from jobs").await;
        let enqueued = reconcile().await;
        let of = |wanted| enqueued.iter().filter(|(_, kind)| *kind == wanted).count();
        assert_eq!((of(Kind::ProvisionGateway), of(Kind::EraseToken)), (3, 3), "{name}");
        assert_eq!(reconcile().await, [], "{name}: once is enough");
        let events = store.load(&shared::envelope::StreamId::queue()).await.unwrap();
        let last = events.last().unwrap();
        assert_eq!(last.event_type, "QueueReconciled", "{name}");
        assert_eq!(last.data, r#"{"by":"command line","gateways":6}"#, "{name}");
    }
}

#[tokio::test]
async fn what_an_operator_does_to_the_queue_is_in_the_log() {
    for (name, test) in backends().await {
        lived(&test).await;
        let (store, actor) = (test.store.as_ref(), Actor::command_line());
        assert!(!steer::pause(store, &SystemClock, &actor, "again").await.unwrap(), "{name}");
        assert!(steer::resume(store, &SystemClock, &actor).await.unwrap(), "{name}");
        assert!(!steer::resume(store, &SystemClock, &actor).await.unwrap(), "{name}");
        let job = store.jobs().await.unwrap().remove(1).job;
        steer::retry(store, &SystemClock, &actor, job.id).await.unwrap();
        assert!(
            steer::cancel(store, &SystemClock, &actor, job.id).await.is_err(),
            "{name}: it would come back"
        );
        let events = store.load(&shared::envelope::StreamId::queue()).await.unwrap();
        let names: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(names, ["QueuePaused", "WorkerDrained", "QueueResumed", "JobRetried"], "{name}");
        assert!(events.iter().all(|event| event.parse_metadata().unwrap().actor == actor), "{name}");
    }
}
