//! The log for operators: filtered pages, turns, checkpoints, what waits without a job, a paused queue.

use std::time::Duration;

use harness::databases::TestStore;
use shared::{
    commit::JobChange,
    envelope::StreamId,
    store::{Claim, CommitError, EventFilter},
    view::Row,
};

use crate::{append, at, backends, gateway, job, organization};

async fn positions(test: &TestStore, filter: &EventFilter, after: u64, limit: u32) -> Vec<u64> {
    let page = test.store.events(filter, after, limit).await.unwrap();
    assert!(page.iter().all(|event| filter.matches(event)), "both sides of a filter agree");
    page.iter().map(|event| event.position).collect()
}

#[tokio::test]
async fn a_filtered_page_holds_what_passes_and_nothing_else() {
    for (name, test) in backends().await {
        for number in 1..=6_u128 {
            let mut commit = append(number, 0, number);
            commit.organization = (number < 6).then(|| organization(number % 2));
            commit.recorded_at = at(i64::try_from(number).unwrap());
            if number == 4 {
                commit.events[0].event_type = "Other".to_owned();
            }
            test.store.commit(commit).await.unwrap();
        }
        let all = EventFilter::default();
        assert_eq!(positions(&test, &all, 0, 100).await, [1, 2, 3, 4, 5, 6], "{name}");
        assert_eq!(positions(&test, &all, 2, 2).await, [3, 4], "{name}");
        let of = |organization| EventFilter { organization: Some(organization), ..EventFilter::default() };
        assert_eq!(positions(&test, &of(organization(0)), 0, 100).await, [2, 4], "{name}");
        assert_eq!(positions(&test, &of(organization(7)), 0, 100).await, [0; 0], "{name}");
        let other = EventFilter { event_type: Some("Other".to_owned()), ..EventFilter::default() };
        assert_eq!(positions(&test, &other, 0, 100).await, [4], "{name}");
        let stream = EventFilter { stream: Some(StreamId::from(gateway(5))), ..EventFilter::default() };
        assert_eq!(positions(&test, &stream, 0, 100).await, [5], "{name}");
        let actor = EventFilter { actor: Some("command-line".to_owned()), ..of(organization(1)) };
        assert_eq!(positions(&test, &actor, 1, 100).await, [3, 5], "{name}");
        let time = EventFilter { since: Some(at(2)), until: Some(at(5)), ..EventFilter::default() };
        assert_eq!(positions(&test, &time, 0, 100).await, [2, 3, 4], "{name}");
    }
}

#[tokio::test]
async fn one_process_has_the_turn_until_it_ends() {
    for (name, test) in backends().await {
        let turn = async |holder: &str, second| {
            let now = at(second);
            test.set_time(now).await;
            test.store.take_turn("sweep", holder, Duration::from_secs(30), now).await.unwrap()
        };
        assert!(turn("a", 0).await, "{name}");
        assert!(!turn("b", 29).await, "{name}");
        assert!(turn("a", 29).await, "{name}: the holder keeps it");
        assert!(!turn("b", 58).await, "{name}");
        assert!(turn("b", 59).await, "{name}");
    }
}

fn claim(second: i64) -> Claim {
    Claim { worker: "w".to_owned(), permits: 9, lease: Duration::from_secs(8), now: at(second) }
}

#[tokio::test]
async fn a_paused_queue_gives_nothing_out_until_it_is_resumed() {
    for (name, test) in backends().await {
        let store = &test.store;
        test.set_time(at(0)).await;
        let mut pause = append(1, 0, 1);
        pause.jobs.push(job(1, "a", at(0)));
        pause.rows.push(Row::QueuePause(Some((at(0), "ada".to_owned(), "repair".to_owned()))));
        store.commit(pause).await.unwrap();
        assert_eq!(store.claim(claim(1)).await.unwrap(), [], "{name}");
        assert_eq!(store.due_in(at(1)).await.unwrap(), None, "{name}");
        assert_eq!(store.pause().await.unwrap().unwrap().reason, "repair", "{name}");
        let mut resume = append(1, 1, 2);
        resume.rows.push(Row::QueuePause(None));
        store.commit(resume).await.unwrap();
        assert_eq!(store.claim(claim(2)).await.unwrap().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn an_operator_changes_jobs_that_wait_and_none_that_runs() {
    for (name, test) in backends().await {
        let store = &test.store;
        test.set_time(at(0)).await;
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![job(1, "a", at(100)), job(2, "b", at(100)), job(3, "c", at(0))];
        store.commit(commit).await.unwrap();
        let held = store.claim(claim(1)).await.unwrap();
        assert_eq!(held.len(), 1, "{name}");
        let change = |expected, number, change| {
            let mut commit = append(9, expected, number);
            commit.changed_jobs = vec![change];
            commit
        };
        let refused = store.commit(change(0, 2, JobChange::Drop { job: held[0].job.id })).await;
        assert!(matches!(refused, Err(CommitError::LeaseLost { .. })), "{name}: {refused:?}");
        store.commit(change(0, 3, JobChange::Drop { job: job(1, "a", at(0)).id })).await.unwrap();
        let now = JobChange::RunNow { job: job(2, "b", at(0)).id, attempt: 3 };
        let mut commit = change(1, 4, now);
        commit.recorded_at = at(1);
        store.commit(commit).await.unwrap();
        let next = store.claim(claim(2)).await.unwrap();
        assert_eq!(next.iter().map(|lease| lease.job.attempt).collect::<Vec<_>>(), [3], "{name}");
        assert_eq!(store.jobs().await.unwrap().len(), 2, "{name}");
    }
}

#[tokio::test]
async fn what_waits_without_a_job_is_found() {
    for (name, test) in backends().await {
        let store = &test.store;
        let operation = |number: u128, status| Row::Operation {
            id: job(number, "", at(0)).operation,
            organization: organization(1),
            gateway: gateway(number),
            status,
            created_at: at(0),
            document: "{}".to_owned(),
        };
        let mut commit = append(1, 0, 1);
        commit.rows = vec![
            operation(1, "pending"),
            operation(2, "pending"),
            operation(3, "failed"),
            operation(4, "awaiting_pairing"),
        ];
        commit.jobs.push(job(1, "a", at(0)));
        store.commit(commit).await.unwrap();
        let mut found = store.waiting_without_job(10).await.unwrap();
        found.sort_unstable();
        assert_eq!(found, [gateway(2), gateway(4)], "{name}");
    }
}

#[tokio::test]
async fn a_database_that_several_hosts_share_tells_its_time() {
    for (name, test) in backends().await {
        test.set_time(at(5)).await;
        let due = (name != "sqlite").then(|| at(5));
        assert_eq!(test.store.time().await.unwrap(), due, "{name}");
    }
}
