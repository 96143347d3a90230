//! A database that neither answers nor hangs up, as behind a cable that was pulled. SQLite has no cable.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{
    databases::{Passes, ServerDatabase, Way, shared},
    fake_gateway::{FakeGateway, Options},
    world::{Answer, World, body},
};

/// How soon who asks is told that the database is silent.
const PROMISED: Duration = Duration::from_secs(5);
/// What two busy cores may add.
const SLACK: Duration = Duration::from_secs(3);

async fn home() -> (World, Way, ServerDatabase) {
    let database = shared().await;
    let (location, way) = database.by_way().await;
    (World::start(location.open().await.unwrap()).await, way, database)
}

fn agents(gateway: &FakeGateway) -> usize {
    gateway.agents().iter().filter(|agent| agent.id.starts_with("agent-")).count()
}

#[track_caller]
fn is_told(answer: &Answer, since: Instant) {
    answer.assert_problem(503, "store_unavailable", None);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(since.elapsed() < PROMISED + SLACK, "told only after {:?}", since.elapsed());
}

/// Sends it again as the answer advises, until the database is back.
async fn again(world: &World, gateway: &FakeGateway, key: &str) -> Answer {
    let since = Instant::now();
    loop {
        let answer = world.post_with(&body(gateway), &[("Idempotency-Key", key)]).await;
        if ![409, 503].contains(&answer.status) {
            return answer;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "{}", answer.text);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_soon_that_the_database_is_silent_and_nothing_is_done_twice() {
    let (world, way, _database) = home().await;
    let gateways: Vec<FakeGateway> = join_all((0..24).map(|_| FakeGateway::start(Options::default()))).await;
    let warm = world.post(&body(&gateways[0])).await;
    assert_eq!(warm.status, 200, "{}", warm.text);
    way.pass(Passes::Nothing);
    let silent = Instant::now();
    // The first ones meet it in the middle, the others come while it lasts.
    let requests = gateways.iter().enumerate().skip(1).map(|(number, gateway)| {
        let world = &world;
        async move {
            tokio::time::sleep(Duration::from_millis(250) * u32::try_from(number).unwrap()).await;
            let since = Instant::now();
            let key = format!("key-{number}");
            is_told(&world.post_with(&body(gateway), &[("Idempotency-Key", &key)]).await, since);
            since.elapsed()
        }
    });
    let longest = join_all(requests).await.into_iter().max().unwrap();
    println!(
        "the longest of 23 requests was told after {longest:?}; the silence lasted {:?}",
        silent.elapsed()
    );
    way.mend();
    for (number, gateway) in gateways.iter().enumerate().skip(1).step_by(6) {
        let created = again(&world, gateway, &format!("key-{number}")).await;
        assert_eq!(created.status, 200, "{}", created.text);
        assert_eq!(agents(gateway), 1, "key-{number}");
    }
    assert_eq!(world.get("/api/v1/gateways").await.json["total"], 5);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_not_told_as_if_it_had_failed() {
    let (world, way, _database) = home().await;
    let gateway = FakeGateway::start(Options::default()).await;
    way.pass(Passes::UpToItsAnswer);
    let since = Instant::now();
    let told = world.post_with(&body(&gateway), &[("Idempotency-Key", "k")]).await;
    is_told(&told, since);
    println!("an answer that was lost was told after {:?}", since.elapsed());
    let detail = told.json["detail"].as_str().unwrap();
    assert!(detail.contains("did not tell whether this was recorded"), "{detail}");
    way.mend();
    let path = format!("/api/v1/operations/{}", told.json["operation"].as_str().unwrap());
    let operation = until_back(&world, &path).await;
    assert_eq!(operation.status, 200, "it was recorded: {}", operation.text);
    assert_eq!(world.outcome(&path).await.json["status"], "succeeded");
    let created = again(&world, &gateway, "k").await;
    assert_eq!((created.status, agents(&gateway)), (200, 1), "{}", created.text);
    assert_eq!(world.get("/api/v1/gateways").await.json["total"], 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_told_alike_and_can_be_repeated() {
    let (world, way, _database) = home().await;
    let gateway = FakeGateway::start(Options::default()).await;
    way.pass(Passes::UpToCommit);
    let since = Instant::now();
    let told = world.post_with(&body(&gateway), &[("Idempotency-Key", "k")]).await;
    is_told(&told, since);
    way.mend();
    let path = format!("/api/v1/operations/{}", told.json["operation"].as_str().unwrap());
    until_back(&world, &path).await.assert_problem(404, "not_found", None);
    let created = again(&world, &gateway, "k").await;
    assert_eq!((created.status, agents(&gateway)), (200, 1), "{}", created.text);
    assert_eq!(world.get("/api/v1/gateways").await.json["total"], 1);
    world.audit().await;
}

/// The answer once the database gives one.
async fn until_back(world: &World, path: &str) -> Answer {
    let since = Instant::now();
    loop {
        let answer = world.get(path).await;
        if answer.status != 503 {
            return answer;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{}", answer.text);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
