//! Who is there: what processes report of themselves, and who of them is to drain.

use std::time::Duration;

use shared::{
    clock::{Clock, SystemClock},
    envelope::{Actor, StreamId},
    steer,
    store::{Orders, Process, ProcessKind, Report, Store},
};

use crate::{at, backends};

fn report(id: &str, kind: ProcessKind) -> Report {
    Report {
        id: id.to_owned(),
        kind,
        host: "host-a".to_owned(),
        pid: 4_711,
        version: "0.1.0".to_owned(),
        key_ids: "0a1b2c3d".to_owned(),
        started_at: at(0),
        in_flight: 0,
        concurrency: 256,
        draining: false,
    }
}

pub(crate) fn worker(id: &str) -> Report {
    report(id, ProcessKind::Worker)
}

async fn known(store: &dyn Store, second: i64) -> Vec<Process> {
    store.processes(at(second)).await.unwrap()
}

#[tokio::test]
async fn a_process_is_known_as_it_reported_itself_last() {
    for (name, test) in backends().await {
        let store = test.store.as_ref();
        test.set_time(at(0)).await;
        let first = worker("a");
        assert_eq!(store.report(&first, at(0)).await.unwrap(), Orders::default(), "{name}");
        let last = Report { in_flight: 7, draining: true, key_ids: "0a1b2c3d,ffffffff".to_owned(), ..first };
        test.set_time(at(3)).await;
        store.report(&last, at(3)).await.unwrap();
        test.set_time(at(5)).await;
        let silent_for = Duration::from_secs(2);
        let expected = Process { report: last, seen_at: at(3), silent_for, is_to_drain: false };
        assert_eq!(known(store, 5).await, [expected], "{name}");
        store.leave("a").await.unwrap();
        assert_eq!(known(store, 5).await, [], "{name}");
    }
}

#[tokio::test]
async fn who_was_silent_for_an_hour_is_forgotten_when_another_reports() {
    for (name, test) in backends().await {
        let store = test.store.as_ref();
        test.set_time(at(0)).await;
        for id in ["gone", "b"] {
            store.report(&worker(id), at(0)).await.unwrap();
        }
        for (second, ids) in [(3_600, vec!["b", "gone"]), (3_601, vec!["b"])] {
            test.set_time(at(second)).await;
            store.report(&worker("b"), at(second)).await.unwrap();
            let known = known(store, second).await;
            let known: Vec<&str> = known.iter().map(|process| process.report.id.as_str()).collect();
            assert_eq!(known, ids, "{name} after {second} s");
        }
    }
}

#[tokio::test]
async fn a_worker_that_is_to_drain_hears_it_with_its_next_report() {
    for (name, test) in backends().await {
        let (store, actor) = (test.store.as_ref(), Actor::command_line());
        let now = SystemClock.now();
        let worker = worker("w");
        for process in [&worker, &report("api", ProcessKind::Api)] {
            assert!(!store.report(process, now).await.unwrap().is_to_drain, "{name}");
        }
        for id in ["nobody", "api"] {
            let refused = steer::drain(store, &SystemClock, &actor, (id, "why")).await.unwrap_err();
            assert!(refused.to_string().contains("workers list"), "{name}: {refused}");
        }
        assert!(!steer::resume_worker(store, &SystemClock, &actor, "w").await.unwrap(), "{name}");
        for changes in [true, false] {
            let drain = steer::drain(store, &SystemClock, &actor, ("w", "new kernel"));
            assert_eq!(drain.await.unwrap(), changes, "{name}");
        }
        assert!(store.report(&worker, now).await.unwrap().is_to_drain, "{name}");
        let listed = store.processes(now).await.unwrap();
        let to_drain = listed.iter().filter(|process| process.is_to_drain);
        assert_eq!(to_drain.map(|process| process.report.id.as_str()).collect::<Vec<_>>(), ["w"], "{name}");
        assert!(steer::resume_worker(store, &SystemClock, &actor, "w").await.unwrap(), "{name}");
        assert!(!store.report(&worker, now).await.unwrap().is_to_drain, "{name}");
        let events = store.load(&StreamId::queue()).await.unwrap();
        let names: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(names, ["WorkerDrained", "WorkerResumed"], "{name}");
        assert!(events.iter().all(|event| event.parse_metadata().unwrap().actor == actor), "{name}");
    }
}
