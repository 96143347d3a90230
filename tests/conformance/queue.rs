//! Jobs: leased, fenced, renewed, handed back, one per gateway key.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use shared::{
    commit::{Finish, Then},
    store::{Claim, CommitError, LocalWorker},
};
use tokio::sync::{Semaphore, mpsc};

use crate::{append, at, backends, job};

fn claim(permits: u32, now: DateTime<Utc>) -> Claim {
    Claim { worker: "w".to_owned(), permits, lease: Duration::from_secs(8), now }
}

#[tokio::test]
async fn a_claim_takes_due_jobs_and_one_per_gateway_key() {
    for (name, test) in backends().await {
        let store = &test.store;
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![
            job(1, "a", at(0)),
            job(2, "a", at(1)),
            job(3, "b", at(2)),
            job(4, "c", at(100)),
            job(5, "d", at(3)),
        ];
        store.commit(commit).await.unwrap();
        let first = store.claim(claim(2, at(10))).await.unwrap();
        let mut taken: Vec<u128> = first.iter().map(|lease| lease.job.id.uuid().as_u128()).collect();
        taken.sort_unstable();
        assert_eq!(taken, [1, 3], "{name}: the earliest two, one per key");
        let second = store.claim(claim(9, at(10))).await.unwrap();
        let taken: Vec<u128> = second.iter().map(|lease| lease.job.id.uuid().as_u128()).collect();
        assert_eq!(taken, [5], "{name}: a's other job waits, c's is not due");
        assert_eq!(store.next_due().await.unwrap(), Some(at(1)), "{name}");
    }
}

#[tokio::test]
async fn an_expired_lease_is_taken_over_and_its_late_outcome_refused() {
    for (name, test) in backends().await {
        let store = &test.store;
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![job(1, "a", at(0))];
        store.commit(commit).await.unwrap();
        let late = store.claim(claim(1, at(0))).await.unwrap().remove(0);
        assert!(store.claim(claim(1, at(7))).await.unwrap().is_empty(), "{name}: the lease holds for 8 s");
        let held = [(late.job.id, late.token)];
        assert_eq!(store.renew(&held, Duration::from_secs(8), at(7)).await.unwrap(), [late.job.id], "{name}");
        assert!(store.claim(claim(1, at(14))).await.unwrap().is_empty(), "{name}: it was renewed");
        let taken = store.claim(claim(1, at(15))).await.unwrap().remove(0);
        assert_eq!((taken.job.id, taken.lost_leases), (late.job.id, 1), "{name}");
        assert!(store.renew(&held, Duration::from_secs(8), at(15)).await.unwrap().is_empty(), "{name}");

        let outcome = |lease: &shared::job::Lease, expected, number| {
            let mut commit = append(1, expected, number);
            commit.finish = Some(Finish { job: lease.job.id, token: lease.token, then: Then::Delete });
            commit
        };
        let refused = store.commit(outcome(&late, 1, 2)).await.unwrap_err();
        assert!(matches!(refused, CommitError::LeaseLost { .. }), "{name}: {refused}");
        store.commit(outcome(&taken, 1, 3)).await.unwrap();
        assert!(store.jobs().await.unwrap().is_empty(), "{name}");
        let refused = store.commit(outcome(&taken, 2, 4)).await.unwrap_err();
        assert!(matches!(refused, CommitError::LeaseLost { .. }), "{name}: {refused}");
    }
}

#[tokio::test]
async fn a_job_handed_back_or_rescheduled_counts_no_lost_lease() {
    for (name, test) in backends().await {
        let store = &test.store;
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![job(1, "a", at(0))];
        store.commit(commit).await.unwrap();
        let lease = store.claim(claim(1, at(0))).await.unwrap().remove(0);
        store.release(&[(lease.job.id, lease.token)]).await.unwrap();
        let lease = store.claim(claim(1, at(0))).await.unwrap().remove(0);
        assert_eq!(lease.lost_leases, 0, "{name}");
        let mut commit = append(1, 1, 2);
        let then = Then::RunAt { at: at(50), attempt: 2 };
        commit.finish = Some(Finish { job: lease.job.id, token: lease.token, then });
        store.commit(commit).await.unwrap();
        assert!(store.claim(claim(1, at(49))).await.unwrap().is_empty(), "{name}");
        let lease = store.claim(claim(1, at(50))).await.unwrap().remove(0);
        assert_eq!((lease.job.attempt, lease.lost_leases), (2, 0), "{name}");
        assert_eq!(store.void_leases().await.unwrap(), 1, "{name}");
        assert_eq!(
            store.claim(claim(1, at(50))).await.unwrap().len(),
            1,
            "{name}: a voided lease is due at once"
        );
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
            lease: Duration::from_secs(8),
            jobs,
        }));
        let mut commit = append(1, 0, 1);
        commit.jobs = vec![job(1, "a", at(0)), job(2, "a", at(0)), job(3, "b", at(0))];
        store.commit(commit).await.unwrap();
        let handed = received.try_recv().expect("the first job is handed over");
        assert_eq!(handed.lease.job.id.uuid().as_u128(), 1, "{name}");
        assert!(received.try_recv().is_err(), "{name}: one permit, one job");
        let left = store.claim(claim(9, at(0))).await.unwrap();
        let left: Vec<u128> = left.iter().map(|lease| lease.job.id.uuid().as_u128()).collect();
        assert_eq!(left, [3], "{name}: a's other job waits for the first");
        store.attach(None);
        drop(handed);
        assert_eq!(permits.available_permits(), 1, "{name}");
    }
}
