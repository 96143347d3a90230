//! A queue of thousands of jobs, against a model of it: a claim that finds its jobs by indexes takes the same ones.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use harness::databases::TestStore;
use shared::{
    commit::{Finish, Then},
    job::Lease,
    store::Claim,
};

use crate::{append, at, backends, job};

const JOBS: u32 = 4_000;
const KEYS: u32 = 1_500;
/// Jobs become due from second 0 to this one.
const SECONDS: u32 = 90;
const LEASE: i64 = 8;
const PERMITS: usize = 200;

#[derive(Debug)]
struct Modelled {
    number: u32,
    key: u32,
    run_at: i64,
    lease: Option<(i64, Lease)>,
}

impl Modelled {
    fn new(number: u32) -> Self {
        // Neighbours in time are strangers in number and key.
        let spread = number.wrapping_mul(2_654_435_761);
        Self { number, key: spread % KEYS, run_at: i64::from((spread >> 8) % SECONDS), lease: None }
    }

    fn due(&self) -> i64 {
        self.lease.as_ref().map_or(self.run_at, |(until, _)| *until)
    }
}

/// The queue as DESIGN.md has it, without an index.
#[derive(Debug)]
struct Model(Vec<Modelled>);

impl Model {
    /// Of each key that nobody holds the job that lost its worker, or the earliest; the earliest of those.
    fn due(&self, now: i64) -> Vec<u32> {
        let held: HashSet<u32> =
            self.0.iter().filter(|job| job.lease.is_some() && job.due() > now).map(|job| job.key).collect();
        let mut due: Vec<&Modelled> = self.0.iter().filter(|job| job.due() <= now).collect();
        due.sort_by_key(|job| (job.lease.is_none(), job.due(), job.number));
        let mut keys = held;
        due.retain(|job| keys.insert(job.key));
        due.sort_by_key(|job| (job.due(), job.number));
        due.iter().take(PERMITS).map(|job| job.number).collect()
    }

    fn job(&mut self, number: u32) -> &mut Modelled {
        self.0.iter_mut().find(|job| job.number == number).expect("the model has every job")
    }
}

/// Claims, and holds the answer against the model.
async fn claim(name: &str, test: &TestStore, model: &mut Model, second: i64) -> Vec<u32> {
    let expected = model.due(second);
    test.set_time(at(second)).await;
    let permits = u32::try_from(PERMITS).unwrap();
    let lease = Duration::from_secs(u64::try_from(LEASE).unwrap());
    let claim = Claim { worker: "w".to_owned(), permits, lease, now: at(second) };
    let mut taken = vec![];
    for lease in test.store.claim(claim).await.unwrap() {
        let number = u32::try_from(lease.job.id.uuid().as_u128()).unwrap();
        let lost = u32::from(model.job(number).lease.is_some());
        assert!(lease.lost_leases >= lost, "{name}, second {second}: job {number} counts its lost lease");
        model.job(number).lease = Some((second + LEASE, lease));
        taken.push(number);
    }
    taken.sort_unstable();
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(taken, sorted, "{name}, second {second}");
    taken
}

/// Ends some in commits, as their worker would, and hands some back; of the others the lease runs out.
async fn end(test: &TestStore, model: &mut Model, taken: &[u32]) {
    let mut ending = vec![];
    let mut handed_back = vec![];
    for number in taken {
        let (_, lease) = model.job(*number).lease.as_ref().expect("it was taken");
        let held = (lease.job.id, lease.token);
        if number % 3 == 0 {
            let mut commit = append(1_000_000 + u128::from(*number), 0, 1_000_000 + u128::from(*number));
            commit.finish = Some(Finish { job: held.0, token: held.1, then: Then::Delete });
            ending.push(test.store.commit(commit));
        } else if number % 3 == 1 {
            handed_back.push(held);
        }
    }
    for ended in join_all(ending).await {
        ended.unwrap();
    }
    test.store.release(&handed_back).await.unwrap();
    model.0.retain(|job| !(job.number % 3 == 0 && taken.contains(&job.number)));
    for number in taken.iter().filter(|number| *number % 3 == 1) {
        model.job(*number).lease = None;
    }
}

#[tokio::test]
async fn of_a_long_queue_a_claim_takes_what_a_model_of_it_says() {
    for (name, test) in backends().await {
        let mut model = Model((1..=JOBS).map(Modelled::new).collect());
        test.set_time(at(0)).await;
        let mut commit = append(1, 0, 1);
        commit.jobs = model
            .0
            .iter()
            .map(|modelled| {
                job(u128::from(modelled.number), &format!("key-{}", modelled.key), at(modelled.run_at))
            })
            .collect();
        test.store.commit(commit).await.unwrap();
        let mut second = 0;
        let mut claimed = 0;
        for round in 0..24 {
            let taken = claim(name, &test, &mut model, second).await;
            claimed += taken.len();
            end(&test, &mut model, &taken).await;
            second += if round % 2 == 0 { 5 } else { 1 };
        }
        assert!(claimed > 3_000, "{name}: the queue was long in every round: {claimed}");
        let left = test.store.jobs().await.unwrap().len();
        assert_eq!(left, model.0.len(), "{name}");
        assert!(left > 1_000, "{name}: it is still long: {left}");
    }
}
