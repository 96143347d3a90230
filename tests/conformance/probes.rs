//! The schedule of probes: claimed and ended in batches, one at a time, and never before a job.

use std::time::Duration;

use chrono::{DateTime, Utc};
use harness::databases::TestStore;
use shared::{
    commit::{Sealed, SecretChange},
    domain::gateway::health::{Sight, Tally},
    ids::LeaseToken,
    register::{device_token_owner, gateway_token_owner},
    store::{Claim, DueProbe, NewProbe, ProbeClaim, Probed, Tidied},
    view::Row,
};

use crate::{append, at, backends, gateway, job, organization};

const LEASE: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_mins(1);

fn document(status: &str) -> String {
    format!("{{\"status\":\"{status}\"}}")
}

fn row(number: u128, status: &str) -> Row {
    let document = document(status);
    Row::Gateway { id: gateway(number), organization: organization(1), created_at: at(0), document }
}

fn probe(number: u128, key: &str, seconds: u64) -> NewProbe {
    NewProbe { gateway: gateway(number), gateway_key: key.to_owned(), delay: Duration::from_secs(seconds) }
}

/// Registered gateways, at second 0, with their first probes.
async fn schedule(test: &TestStore, probes: &[NewProbe]) {
    test.set_time(at(0)).await;
    let mut commit = append(1, 0, 1);
    commit.rows = (1..=4).map(|number| row(number, "active")).collect();
    test.store.commit(commit).await.unwrap();
    assert_eq!(test.store.enrol_probes(probes, at(0)).await.unwrap(), u64::try_from(probes.len()).unwrap());
}

async fn claim(test: &TestStore, limit: u32, now: DateTime<Utc>) -> Vec<DueProbe> {
    test.set_time(now).await;
    test.store.claim_probes(ProbeClaim { limit, lease: LEASE, now }).await.unwrap()
}

fn numbers(due: &[DueProbe]) -> Vec<u128> {
    let mut numbers: Vec<u128> = due.iter().map(|due| due.gateway.uuid().as_u128()).collect();
    numbers.sort_unstable();
    numbers
}

fn end(due: &DueProbe, next: Option<Duration>) -> Probed {
    let tally = due.tally.after(if next.is_some() { Sight::Away } else { Sight::Refused });
    let observation = Some(format!("{{\"seen\":{}}}", tally.misses));
    Probed {
        gateway: due.gateway,
        token: due.token,
        gateway_key: format!("new {}", due.gateway),
        tally,
        next,
        observation,
    }
}

#[tokio::test]
async fn gateways_are_put_on_the_schedule_once_and_claimed_when_they_are_due() {
    for (name, test) in backends().await {
        let store = &test.store;
        schedule(&test, &[probe(1, "a", 10), probe(2, "b", 20), probe(3, "c", 90)]).await;
        let left = store.unprobed(9).await.unwrap();
        assert_eq!(left.len(), 1, "{name}");
        assert_eq!((left[0].gateway, left[0].created_at), (gateway(4), at(0)), "{name}");
        assert_eq!(store.enrol_probes(&[probe(1, "a", 0)], at(0)).await.unwrap(), 0, "{name}: it is there");
        assert_eq!(numbers(&claim(&test, 9, at(9)).await), [], "{name}");
        assert_eq!(numbers(&claim(&test, 1, at(20)).await), [1], "{name}: the earliest");
        assert_eq!(numbers(&claim(&test, 9, at(20)).await), [2], "{name}");
        // Nothing was heard of them: their worker is gone.
        assert_eq!(numbers(&claim(&test, 9, at(49)).await), [], "{name}");
        assert_eq!(numbers(&claim(&test, 9, at(50)).await), [1, 2], "{name}");
    }
}

#[tokio::test]
async fn a_claim_brings_along_what_a_probe_needs() {
    for (name, test) in backends().await {
        let store = &test.store;
        schedule(&test, &[probe(1, "a", 0), probe(2, "b", 0)]).await;
        let sealed = |text: &str| Sealed {
            key_id: "k".to_owned(),
            nonce: b"nonce".to_vec(),
            ciphertext: text.as_bytes().to_vec(),
        };
        let mut commit = append(1, 1, 2);
        for (owner, text) in [(gateway_token_owner(gateway(1)), "t"), (device_token_owner(gateway(1)), "d")] {
            commit.secrets.push(SecretChange::Put { owner, sealed: sealed(text) });
        }
        store.commit(commit).await.unwrap();
        store.observe(gateway(1), "{}".to_owned()).await.unwrap();
        let mut due = claim(&test, 9, at(1)).await;
        due.sort_by_key(|due| due.gateway.uuid());
        let [first, second] = due.try_into().unwrap();
        assert_eq!((first.document, first.tally), (document("active"), Tally::default()), "{name}");
        assert_eq!(
            (first.gateway_token, first.device_token),
            (Some(sealed("t")), Some(sealed("d"))),
            "{name}"
        );
        assert_eq!(first.observation.as_deref(), Some("{}"), "{name}");
        assert_eq!(
            (second.gateway_token, second.device_token, second.observation),
            (None, None, None),
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_end_of_a_probe_keeps_what_was_seen_and_schedules_the_next() {
    for (name, test) in backends().await {
        let store = &test.store;
        schedule(&test, &[probe(1, "a", 0), probe(2, "b", 0), probe(3, "c", 0)]).await;
        let due = claim(&test, 9, at(0)).await;
        let mut ends: Vec<Probed> = due.iter().map(|due| end(due, Some(MINUTE))).collect();
        // One comes from another claim, one is the last for now.
        let place =
            |ends: &[Probed], number| ends.iter().position(|end| end.gateway == gateway(number)).unwrap();
        let (late, last) = (place(&ends, 2), place(&ends, 3));
        ends[late].token = LeaseToken::mint(at(0));
        ends[last] = end(due.iter().find(|due| due.gateway == gateway(3)).unwrap(), None);
        assert_eq!(store.end_probes(&ends, at(0)).await.unwrap(), 2, "{name}");
        let seen = store.observation(gateway(1)).await.unwrap();
        assert_eq!(seen.as_deref(), Some("{\"seen\":1}"), "{name}");
        assert_eq!(store.observation(gateway(2)).await.unwrap(), None, "{name}: too late");
        assert_eq!(numbers(&claim(&test, 9, at(59)).await), [2], "{name}: its lease ran out");
        let due = claim(&test, 9, at(60)).await;
        assert_eq!(numbers(&due), [1], "{name}: the third is not due by itself");
        assert_eq!((due[0].tally.misses, due[0].tally.last), (1, Some(Sight::Away)), "{name}");
        assert_eq!(numbers(&claim(&test, 9, at(1_000_000)).await), [1, 2], "{name}");
    }
}

#[tokio::test]
async fn a_probe_waits_for_jobs_of_its_gateway_and_for_another_probe_there() {
    for (name, test) in backends().await {
        let store = &test.store;
        schedule(&test, &[probe(1, "a", 0), probe(2, "a", 1), probe(3, "b", 0), probe(4, "c", 0)]).await;
        let mut commit = append(1, 1, 2);
        commit.jobs = vec![job(1, "b", at(0)), job(2, "c", at(50))];
        store.commit(commit).await.unwrap();
        let due = claim(&test, 9, at(2)).await;
        assert_eq!(numbers(&due), [1, 4], "{name}: one of a, b has a job, c has one later");
        let a = due.iter().find(|due| due.gateway == gateway(1)).unwrap();
        let claim_jobs =
            Claim { worker: "w".to_owned(), permits: 9, lease: Duration::from_secs(8), now: at(3) };
        test.set_time(at(3)).await;
        let jobs = store.claim(claim_jobs).await.unwrap();
        assert_eq!(jobs.len(), 1, "{name}");
        assert_eq!(numbers(&claim(&test, 9, at(3)).await), [], "{name}: b's job runs, a's probe too");
        assert_eq!(store.end_probes(&[end(a, Some(MINUTE))], at(3)).await.unwrap(), 1, "{name}");
        assert_eq!(numbers(&claim(&test, 9, at(3)).await), [2], "{name}");
        store.release(&[(jobs[0].job.id, jobs[0].token)]).await.unwrap();
        assert_eq!(numbers(&claim(&test, 9, at(4)).await), [], "{name}: b's job is due");
    }
}

#[tokio::test]
async fn a_probe_keeps_no_job_waiting() {
    for (name, test) in backends().await {
        let store = &test.store;
        schedule(&test, &[probe(1, "a", 0)]).await;
        assert_eq!(numbers(&claim(&test, 9, at(0)).await), [1], "{name}");
        let mut commit = append(1, 1, 2);
        commit.jobs = vec![job(1, "a", at(0))];
        store.commit(commit).await.unwrap();
        let claim = Claim { worker: "w".to_owned(), permits: 9, lease: Duration::from_secs(8), now: at(0) };
        assert_eq!(store.claim(claim).await.unwrap().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn what_works_again_is_probed_at_once_and_what_is_gone_no_more() {
    for (name, test) in backends().await {
        let store = &test.store;
        schedule(&test, &[probe(1, "a", 0), probe(2, "b", 0), probe(3, "c", 0), probe(4, "d", 60)]).await;
        let due = claim(&test, 9, at(0)).await;
        let ends: Vec<Probed> =
            due.iter().map(|due| end(due, (due.gateway != gateway(1)).then_some(MINUTE * 8))).collect();
        assert_eq!(store.end_probes(&ends, at(0)).await.unwrap(), 3, "{name}");
        let mut commit = append(1, 1, 2);
        let agent = shared::ids::AgentId::mint(at(0));
        commit.rows = vec![row(2, "offline"), Row::GatewayGone { id: gateway(3), agent }];
        store.commit(commit).await.unwrap();
        assert_eq!(numbers(&claim(&test, 9, at(60)).await), [4], "{name}: it is being probed");
        let tidied = store.tidy_probes(Duration::from_secs(20), at(60)).await.unwrap();
        assert_eq!(
            tidied,
            Tidied { dropped: 1, resumed: 1 },
            "{name}: the second is rightly probed less often"
        );
        let due = claim(&test, 9, at(60)).await;
        assert_eq!(numbers(&due), [1], "{name}");
        assert_eq!(due[0].tally, Tally::default(), "{name}");
        assert_eq!(numbers(&claim(&test, 9, at(480)).await), [1, 2, 4], "{name}");
    }
}

#[tokio::test]
async fn nothing_is_probed_while_the_queue_is_paused() {
    for (name, test) in backends().await {
        schedule(&test, &[probe(1, "a", 0)]).await;
        let mut commit = append(2, 0, 2);
        commit.rows = vec![Row::QueuePause(Some((at(0), "ada".to_owned(), "r".to_owned())))];
        test.store.commit(commit).await.unwrap();
        assert_eq!(numbers(&claim(&test, 9, at(1)).await), [], "{name}");
    }
}
