//! The database goes away and comes back, on a server of the test's own.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use harness::databases::{Cluster, Durability, ServerDatabase};
use shared::{
    envelope::StreamId,
    store::{Claim, CommitError, Location, Store, StoreError},
    verify::{Verdict, verify},
    view::Row,
    watch::Waiters,
};
use tokio::time::timeout;

use crate::{append, at, gateway, job, organization, soon, until};

/// What the service promises: unready this soon after the database went, ready this soon after it came.
const PROMISED: Duration = Duration::from_secs(5);

async fn database() -> ServerDatabase {
    Arc::new(Cluster::start(Durability::Pretended).await).database().await
}

async fn until_ready(store: &dyn Store) {
    timeout(PROMISED, until(async || store.ping().await.is_ok())).await.expect("ready in time");
}

/// A process that commits for as long as it is wanted, each commit to a stream of its own.
struct Committer {
    acknowledged: Arc<Mutex<Vec<u128>>>,
    failed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Committer {
    fn start(store: Arc<dyn Store>, first: u128) -> Self {
        let acknowledged = Arc::new(Mutex::new(vec![]));
        let failed = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let (acknowledged, failed, stop) =
                (Arc::clone(&acknowledged), Arc::clone(&failed), Arc::clone(&stop));
            async move {
                let mut number = first;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    match store.commit(append(number, 0, number)).await {
                        Ok(_) => acknowledged.lock().unwrap().push(number),
                        Err(CommitError::Store { .. }) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                        Err(refused) => unreachable!("{refused}"),
                    }
                }
            }
        });
        Self { acknowledged, failed, stop, task }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits, within the promise, until it was answered some more times.
    async fn goes_on(&self) {
        let before = self.count();
        let more = until(async || self.count() >= before + 5);
        timeout(PROMISED, more).await.expect("commits are taken");
    }

    async fn end(self) -> (Vec<u128>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        soon(self.task).await.unwrap();
        (self.acknowledged.lock().unwrap().clone(), self.failed.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_database_ends_nothing_and_loses_nothing() {
    let database = database().await;
    let (here, there) = (database.open().await, database.open().await);
    let committers = [Committer::start(Arc::clone(&here), 0), Committer::start(Arc::clone(&there), 1 << 32)];
    for committer in &committers {
        committer.goes_on().await;
    }
    database.cluster().crash();
    let away = Instant::now();
    assert!(here.ping().await.is_err());
    assert!(there.load(&StreamId::from(gateway(1))).await.is_err());
    assert!(away.elapsed() < PROMISED, "{:?}", away.elapsed());

    database.cluster().come_up().await;
    for store in [&here, &there] {
        until_ready(store.as_ref()).await;
    }
    for committer in &committers {
        committer.goes_on().await;
    }
    let mut acknowledged = vec![];
    for committer in committers {
        let (numbers, failed) = committer.end().await;
        assert!(failed > 0, "nobody noticed");
        acknowledged.extend(numbers);
    }

    // Each hears of the other again.
    let position = here.commit(append(1 << 40, 0, 1 << 40)).await.unwrap().position;
    soon(there.positions().wait_for(|known| *known >= position)).await.unwrap();
    let mut commit = append(1 << 41, 0, 1 << 41);
    commit.jobs = vec![job(1, "a", at(0))];
    there.commit(commit).await.unwrap();
    soon(here.enqueued().notified()).await;
    let claim = Claim { worker: "w".to_owned(), permits: 1, lease: Duration::from_secs(8), now: at(0) };
    until(async || !here.claim(claim.clone()).await.unwrap().is_empty()).await;

    let verdict = verify(here.as_ref()).await.unwrap();
    assert!(matches!(verdict, Verdict::Intact { .. }), "{verdict:?}");
    for number in acknowledged {
        let stream = here.load(&StreamId::from(gateway(number))).await.unwrap();
        assert_eq!(stream.len(), 1, "commit {number} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_is_missed_and_found_again() {
    let database = database().await;
    let store = database.open().await;
    let committer = Committer::start(Arc::clone(&store), 0);
    committer.goes_on().await;
    database.cluster().freeze();
    // More askers than there are connections, some of whom give up: no place is lost for good.
    let askers: Vec<_> = (0..64)
        .map(|asker| {
            let store = Arc::clone(&store);
            let patience = Duration::from_millis(if asker % 2 == 0 { 100 } else { 60_000 });
            tokio::spawn(async move { timeout(patience, store.head()).await.is_ok_and(|head| head.is_ok()) })
        })
        .collect();
    let away = Instant::now();
    assert!(store.ping().await.is_err());
    assert!(away.elapsed() < PROMISED, "{:?}", away.elapsed());
    for asker in askers {
        assert!(!soon(asker).await.unwrap(), "nobody is answered");
    }
    database.cluster().thaw();
    until_ready(store.as_ref()).await;
    committer.goes_on().await;
    let read = || async { store.head().await.unwrap() };
    timeout(PROMISED, futures_util::future::join_all((0..64).map(|_| read())))
        .await
        .expect("all are answered");
    for number in committer.end().await.0 {
        let stream = store.load(&StreamId::from(gateway(number))).await.unwrap();
        assert_eq!(stream.len(), 1, "commit {number} was acknowledged");
    }
    let verdict = verify(store.as_ref()).await.unwrap();
    assert!(matches!(verdict, Verdict::Intact { .. }), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_ran_out_in_an_outage_are_left_alone_for_three_seconds() {
    let database = database().await;
    // As a process opens it, without the haste of the other tests.
    let location: Location = database.url().parse().unwrap();
    let (busy, idle) = (location.open().await.unwrap(), location.open().await.unwrap());
    let mut commit = append(1, 0, 1);
    commit.jobs = vec![job(1, "a", at(0)), job(2, "b", at(0))];
    busy.commit(commit).await.unwrap();
    let lease = Duration::from_millis(500);
    let claim = Claim { worker: "w".to_owned(), permits: 9, lease, now: at(0) };
    let held = busy.claim(claim.clone()).await.unwrap();
    assert_eq!(held.len(), 2);
    // A claim waits for no disk, but a commit does, and takes what was before it along.
    busy.commit(append(2, 0, 2)).await.unwrap();

    database.cluster().crash();
    assert!(idle.claim(claim.clone()).await.is_err());
    database.cluster().come_up().await;
    let back = Instant::now();
    until_ready(idle.as_ref()).await;
    // Both leases have run out; the worker that lived through it renews the one it still works on, once.
    until(async || idle.due_in(at(0)).await.unwrap() == Some(Duration::ZERO)).await;
    let kept = [(held[0].job.id, held[0].token)];
    let renewed = busy.renew(&kept, Duration::from_mins(1), at(0)).await.unwrap();
    assert_eq!(renewed, [held[0].job.id]);
    let taken = soon(async {
        loop {
            let taken = idle.claim(claim.clone()).await.unwrap();
            if !taken.is_empty() {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(back.elapsed() >= Duration::from_secs(3), "taken over after {:?}", back.elapsed());
    assert_eq!(taken.iter().map(|lease| lease.job.id).collect::<Vec<_>>(), [held[1].job.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opens_when_its_database_comes() {
    let database = database().await;
    database.cluster().crash();
    let error = database.location().open().await.unwrap_err();
    assert!(matches!(error, StoreError::NotOpen { .. }), "{error:?}");
    let store = database.location().open_when_it_comes().await.unwrap();
    let asked = Instant::now();
    assert!(store.ping().await.is_err());
    assert!(store.commit(append(1, 0, 1)).await.is_err());
    assert!(asked.elapsed() < PROMISED, "{:?}", asked.elapsed());
    database.cluster().come_up().await;
    until_ready(store.as_ref()).await;
    store.commit(append(1, 0, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_since_before_the_database_came_is_told() {
    let database = database().await;
    let mut commit = append(1, 0, 1);
    commit.rows = vec![Row::Operation {
        id: job(1, "a", at(0)).operation,
        organization: organization(1),
        gateway: gateway(1),
        status: "succeeded",
        created_at: at(0),
        document: "done".to_owned(),
    }];
    database.open().await.commit(commit).await.unwrap();
    database.cluster().crash();
    let store = database.location().open_when_it_comes().await.unwrap();
    let waiters = Waiters::new(1);
    let tail = tokio::spawn(waiters.clone().tail(store));
    let waiter = waiters.register(job(1, "a", at(0)).operation).unwrap();
    database.cluster().come_up().await;
    assert_eq!(soon(waiter.outcome()).await.as_deref(), Some("done"));
    tail.abort();
}

#[tokio::test]
async fn a_throw_away_server_goes_with_whoever_started_it() {
    let cluster = Cluster::start(Durability::Pretended).await;
    let folder = cluster.folder();
    assert!(folder.exists());
    drop(cluster);
    assert!(!folder.exists());
}
