//! Jobs: leased, fenced, renewed, handed back, one per gateway key.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use harness::databases::TestStore;
use shared::{
    commit::{Finish, Then},
    ids::{JobId, LeaseToken},
    job::{Job, Lease},
    store::{Claim, CommitError, DUE_COUNTED_MAX, LocalWorker},
    view::Row,
};
use tokio::sync::{Semaphore, mpsc};

use crate::{append, at, backends, job};

const LEASE: Duration = Duration::from_secs(8);

/// Enqueues jobs with the first event of stream 1, at second 0.
async fn enqueue(test: &TestStore, jobs: Vec<Job>) {
    test.set_time(at(0)).await;
    let mut commit = append(1, 0, 1);
    commit.jobs = jobs;
    test.store.commit(commit).await.unwrap();
}

async fn claim(test: &TestStore, permits: u32, now: DateTime<Utc>) -> Vec<Lease> {
    test.set_time(now).await;
    test.store.claim(Claim { worker: "w".to_owned(), permits, lease: LEASE, now }).await.unwrap()
}

async fn renew(test: &TestStore, held: &[(JobId, LeaseToken)], now: DateTime<Utc>) -> Vec<JobId> {
    test.set_time(now).await;
    test.store.renew(held, LEASE, now).await.unwrap()
}

/// The numbers of the jobs that are leased here, in order.
fn numbers(leases: &[Lease]) -> Vec<u128> {
    let mut numbers: Vec<u128> = leases.iter().map(|lease| lease.job.id.uuid().as_u128()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_claim_takes_due_jobs_and_one_per_gateway_key() {
    for (name, test) in backends().await {
        let jobs = vec![
            job(1, "a", at(0)),
            job(2, "a", at(1)),
            job(3, "b", at(2)),
            job(4, "c", at(100)),
            job(5, "d", at(3)),
        ];
        enqueue(&test, jobs).await;
        assert_eq!(numbers(&claim(&test, 2, at(10)).await), [1, 3], "{name}: the earliest two, one per key");
        let second = claim(&test, 9, at(10)).await;
        assert_eq!(numbers(&second), [5], "{name}: a's other job waits, c's is not due");
        assert_eq!(test.store.due_in(at(10)).await.unwrap(), Some(Duration::ZERO), "{name}: a's other job");
        let held: Vec<_> = second.iter().map(|lease| (lease.job.id, lease.token)).collect();
        test.store.release(&held).await.unwrap();
        assert_eq!(numbers(&claim(&test, 9, at(10)).await), [5], "{name}: a hand-back is due at once");
    }
}

#[tokio::test]
async fn the_queue_tells_how_long_it_is_until_the_next_job() {
    for (name, test) in backends().await {
        assert_eq!(test.store.due_in(at(0)).await.unwrap(), None, "{name}: nothing is queued");
        enqueue(&test, vec![job(1, "a", at(100)), job(2, "b", at(30))]).await;
        test.set_time(at(10)).await;
        let due = test.store.due_in(at(10)).await.unwrap();
        assert_eq!(due, Some(Duration::from_secs(20)), "{name}");
        claim(&test, 9, at(30)).await;
        assert_eq!(test.store.due_in(at(30)).await.unwrap(), Some(LEASE), "{name}: the end of the lease");
    }
}

#[tokio::test]
async fn the_backlog_is_what_is_due_and_nobody_works_on_and_how_long_the_oldest_is() {
    for (name, test) in backends().await {
        let seconds = Duration::from_secs;
        let backlog = async |second| {
            test.set_time(at(second)).await;
            let backlog = test.store.backlog(at(second)).await.unwrap();
            (backlog.due, backlog.oldest, backlog.is_paused)
        };
        assert_eq!(backlog(0).await, (0, seconds(0), false), "{name}: nothing is queued");
        enqueue(&test, vec![job(1, "a", at(0)), job(2, "a", at(2)), job(3, "b", at(100))]).await;
        assert_eq!(backlog(10).await, (2, seconds(10), false), "{name}: the third is not due");
        claim(&test, 9, at(10)).await;
        assert_eq!(backlog(12).await, (1, seconds(10), false), "{name}: one is worked on, one waits for it");
        assert_eq!(backlog(28).await, (2, seconds(26), false), "{name}: its worker is lost");
        let mut pause = append(2, 0, 2);
        pause.rows.push(Row::QueuePause(Some((at(0), "ada".to_owned(), "repair".to_owned()))));
        test.store.commit(pause).await.unwrap();
        assert_eq!(backlog(28).await, (2, seconds(26), true), "{name}: it waits all the same");
    }
}

#[tokio::test]
async fn the_backlog_of_a_long_queue_is_counted_up_to_its_bound() {
    for (name, test) in backends().await {
        let most = u128::from(DUE_COUNTED_MAX);
        let jobs = (1..=most + 10).map(|number| job(number, &format!("key-{number}"), at(0))).collect();
        enqueue(&test, jobs).await;
        test.set_time(at(5)).await;
        let backlog = test.store.backlog(at(5)).await.unwrap();
        assert_eq!((backlog.due, backlog.oldest), (DUE_COUNTED_MAX, Duration::from_secs(5)), "{name}");
    }
}

#[tokio::test]
async fn a_job_of_a_newer_program_is_left_for_it_and_keeps_nobody_up() {
    for (name, test) in backends().await {
        enqueue(&test, vec![job(1, "a", at(0)), job(2, "b", at(1))]).await;
        test.make_job_unknown(job(1, "a", at(0)).id).await;
        let mut commit = append(2, 0, 2);
        commit.jobs = vec![job(3, "a", at(0))];
        test.store.commit(commit).await.unwrap();
        assert_eq!(numbers(&claim(&test, 9, at(1)).await), [2, 3], "{name}");
        assert_eq!(
            test.store.due_in(at(1)).await.unwrap(),
            Some(LEASE),
            "{name}: the unknown one is not due"
        );
    }
}

#[tokio::test]
async fn an_expired_lease_is_taken_over_and_its_late_outcome_refused() {
    for (name, test) in backends().await {
        enqueue(&test, vec![job(1, "a", at(0))]).await;
        let late = claim(&test, 1, at(0)).await.remove(0);
        assert!(claim(&test, 1, at(7)).await.is_empty(), "{name}: the lease holds for 8 s");
        let held = [(late.job.id, late.token)];
        assert_eq!(renew(&test, &held, at(7)).await, [late.job.id], "{name}");
        assert!(claim(&test, 1, at(14)).await.is_empty(), "{name}: it was renewed");
        let taken = claim(&test, 1, at(15)).await.remove(0);
        assert_eq!((taken.job.id, taken.lost_leases), (late.job.id, 1), "{name}");
        assert!(renew(&test, &held, at(15)).await.is_empty(), "{name}");

        let outcome = |lease: &Lease, expected, number| {
            let mut commit = append(1, expected, number);
            commit.finish = Some(Finish { job: lease.job.id, token: lease.token, then: Then::Delete });
            commit
        };
        let refused = test.store.commit(outcome(&late, 1, 2)).await.unwrap_err();
        assert!(matches!(refused, CommitError::LeaseLost { .. }), "{name}: {refused}");
        test.store.commit(outcome(&taken, 1, 3)).await.unwrap();
        assert!(test.store.jobs().await.unwrap().is_empty(), "{name}");
        let refused = test.store.commit(outcome(&taken, 2, 4)).await.unwrap_err();
        assert!(matches!(refused, CommitError::LeaseLost { .. }), "{name}: {refused}");
    }
}

#[tokio::test]
async fn a_refused_outcome_leaves_its_job_to_its_worker_and_harms_no_other() {
    for (name, test) in backends().await {
        enqueue(&test, (1..=40).map(|number| job(number, &format!("key-{number}"), at(0))).collect()).await;
        let leases = claim(&test, 40, at(0)).await;
        let outcomes = leases.iter().map(|lease| {
            let number = lease.job.id.uuid().as_u128();
            // Every fourth was decided on events that are not there.
            let mut commit = append(100 + number, u64::from(number % 4 == 0), 100 + number);
            commit.finish = Some(Finish { job: lease.job.id, token: lease.token, then: Then::Delete });
            test.store.commit(commit)
        });
        let ended = futures_util::future::join_all(outcomes).await;
        let held: Vec<_> = leases.iter().map(|lease| (lease.job.id, lease.token)).collect();
        let mut refused = vec![];
        for (lease, ended) in leases.iter().zip(ended) {
            match ended {
                Ok(_) => {}
                Err(CommitError::Conflict { .. }) => refused.push(lease.job.id),
                Err(error) => panic!("{name}: {error}"),
            }
        }
        assert_eq!(refused.len(), 10, "{name}");
        assert_eq!(test.store.head().await.unwrap().position, 31, "{name}: the refused wrote nothing");
        let mut kept = renew(&test, &held, at(1)).await;
        kept.sort_unstable();
        refused.sort_unstable();
        assert_eq!(kept, refused, "{name}");
    }
}

#[tokio::test]
async fn a_job_that_lost_its_worker_goes_before_its_gateways_other_jobs() {
    for (name, test) in backends().await {
        enqueue(&test, vec![job(1, "a", at(5)), job(2, "a", at(6))]).await;
        assert_eq!(numbers(&claim(&test, 9, at(5)).await), [1], "{name}");
        assert!(claim(&test, 9, at(12)).await.is_empty(), "{name}: its gateway is busy");
        // The second job was due first, but the first one is half done.
        assert_eq!(numbers(&claim(&test, 9, at(13)).await), [1], "{name}");
    }
}

#[tokio::test]
async fn a_renewal_keeps_what_is_still_held_and_only_that() {
    for (name, test) in backends().await {
        enqueue(&test, vec![job(1, "a", at(0)), job(2, "b", at(0)), job(3, "c", at(0))]).await;
        let mut held: Vec<_> =
            claim(&test, 9, at(0)).await.iter().map(|lease| (lease.job.id, lease.token)).collect();
        test.store.release(&held.split_off(2)).await.unwrap();
        let stranger = (job(9, "z", at(0)).id, held[0].1);
        let asked = [held[0], held[1], stranger];
        let mut kept = renew(&test, &asked, at(1)).await;
        kept.sort_unstable();
        let mut expected = vec![held[0].0, held[1].0];
        expected.sort_unstable();
        assert_eq!(kept, expected, "{name}");
    }
}

#[tokio::test]
async fn a_job_handed_back_or_rescheduled_counts_no_lost_lease() {
    for (name, test) in backends().await {
        enqueue(&test, vec![job(1, "a", at(0))]).await;
        let lease = claim(&test, 1, at(0)).await.remove(0);
        test.store.release(&[(lease.job.id, lease.token)]).await.unwrap();
        let lease = claim(&test, 1, at(0)).await.remove(0);
        assert_eq!(lease.lost_leases, 0, "{name}");
        let mut commit = append(1, 1, 2);
        let then = Then::RunAt { at: at(50), attempt: 2 };
        commit.finish = Some(Finish { job: lease.job.id, token: lease.token, then });
        test.store.commit(commit).await.unwrap();
        assert!(claim(&test, 1, at(49)).await.is_empty(), "{name}");
        let lease = claim(&test, 1, at(50)).await.remove(0);
        assert_eq!((lease.job.attempt, lease.lost_leases), (2, 0), "{name}");
        let voided = test.store.void_leases().await.unwrap();
        let taken = claim(&test, 1, at(50)).await.len();
        assert_eq!(u64::try_from(taken).unwrap(), voided, "{name}: what was voided is due at once");
    }
}

#[tokio::test]
async fn a_job_is_handed_over_in_memory_while_the_local_worker_has_a_permit() {
    for (name, test) in backends().await {
        let store = &test.store;
        let (jobs, mut received) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(1));
        store.attach(Some(LocalWorker {
            worker: "w".to_owned(),
            permits: Arc::clone(&permits),
            lease: LEASE,
            jobs,
        }));
        enqueue(&test, vec![job(1, "a", at(0)), job(2, "a", at(0)), job(3, "b", at(0))]).await;
        let handed = received.try_recv().expect("the first job is handed over");
        assert_eq!(handed.lease.job.id.uuid().as_u128(), 1, "{name}");
        assert!(received.try_recv().is_err(), "{name}: one permit, one job");
        assert_eq!(numbers(&claim(&test, 9, at(0)).await), [3], "{name}: a's other job waits for the first");
        let held = [(handed.lease.job.id, handed.lease.token)];
        assert_eq!(renew(&test, &held, at(7)).await, [handed.lease.job.id], "{name}: it is a lease like any");
        store.attach(None);
        drop(handed);
        assert_eq!(permits.available_permits(), 1, "{name}");
    }
}
