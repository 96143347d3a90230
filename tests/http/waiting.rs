//! `Prefer`, 202, polling and keys.

use std::time::Duration;

use harness::world::{Answer, Setup, body};
use serde_json::json;

use super::{gateway, home, home_with, snapshot};

#[tokio::test]
async fn who_does_not_wait_gets_the_operation_and_polls_it() {
    let (home, gateway) = (home().await, gateway().await);
    let held = gateway.hold("agents.create");
    let answer = home.world.post_with(&body(&gateway), &[("Prefer", "respond-async")]).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let location = answer.header("location").to_owned();
    assert_eq!(location, answer.header("operation-location"));
    for name in ["retry-after", "preference-applied"] {
        assert!(!answer.header(name).is_empty(), "{name}");
    }
    let mut status = answer.json["status"].as_str().unwrap().to_owned();
    for _ in 0..200 {
        if status == "running" {
            break;
        }
        assert_eq!(status, "pending");
        status = home.world.get(&location).await.json["status"].as_str().unwrap().to_owned();
    }
    let running = home.world.get(&location).await;
    snapshot("get_operation_running", &running);
    drop(held);
    let done = home.world.outcome(&location).await;
    assert_eq!(done.json["status"], "succeeded");
    assert_eq!(done.header("retry-after"), "");
    home.world.audit().await;
}

#[tokio::test]
async fn a_wait_that_is_too_short_ends_with_202() {
    let (home, gateway) = (home().await, gateway().await);
    let held = gateway.hold("agents.create");
    for prefer in ["wait=0", "wait=1", "respond-async, wait=1"] {
        let answer = home.world.post_with(&body(&gateway), &[("Prefer", prefer)]).await;
        assert_eq!((answer.status, answer.header("preference-applied")), (202, prefer), "{}", answer.text);
    }
    drop(held);
    home.world.audit().await;
    let all = home.world.get("/api/v1/gateways").await;
    assert_eq!(all.json["total"], 3);
}

#[tokio::test]
async fn beyond_the_most_waiting_clients_the_answer_is_202_at_once() {
    let gateway = gateway().await;
    let home = home_with(Setup { waiting_max: 1, ..Setup::default() }).await;
    let world = &home.world;
    let held = gateway.hold("agents.create");
    let first = async { world.post(&body(&gateway)).await };
    let second = async {
        while gateway.dials() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let answer = world.post(&body(&gateway)).await;
        drop(held);
        answer
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status, second.status), (200, 202));
    world.audit().await;
}

#[tokio::test]
async fn a_repeated_key_repeats_the_answer() {
    let (home, gateway) = (home().await, gateway().await);
    let key = [("Idempotency-Key", "order-1")];
    let first = home.world.post_with(&body(&gateway), &key).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let quoted = home.world.post_with(&body(&gateway), &[("Idempotency-Key", "\"order-1\"")]).await;
    assert_eq!(
        (quoted.status, &quoted.json, quoted.header("location")),
        (200, &first.json, first.header("location"))
    );
    let mut other = body(&gateway);
    other["name"] = json!("Other");
    snapshot("idempotency_key_reused", &home.world.post_with(&other, &key).await);
    assert_eq!(home.world.get("/api/v1/gateways").await.json["total"], 1);
    home.world.audit().await;
}

#[tokio::test]
async fn a_repeated_key_repeats_a_failure_too() {
    let (home, gateway) = (home().await, gateway().await);
    gateway.refuse_dials(true);
    let key = [("Idempotency-Key", "order-2")];
    let first = home.world.post_with(&body(&gateway), &key).await;
    first.assert_problem(502, "gateway_unreachable", Some("tcp"));
    gateway.refuse_dials(false);
    let again = home.world.post_with(&body(&gateway), &key).await;
    assert_eq!((again.status, again.json), (first.status, first.json));
    assert_eq!(gateway.dials(), 0);
    home.world.audit().await;
}

#[tokio::test]
async fn while_the_first_request_runs_its_key_is_taken() {
    let (home, gateway) = (home().await, gateway().await);
    let held = gateway.hold("agents.create");
    let key = ("Idempotency-Key", "order-3");
    let first = home.world.post_with(&body(&gateway), &[key, ("Prefer", "respond-async")]).await;
    assert_eq!(first.status, 202);
    let conflict = home.world.post_with(&body(&gateway), &[key]).await;
    snapshot("idempotency_in_flight", &conflict);
    assert_eq!(conflict.header("location"), first.header("location"));
    let again = home.world.post_with(&body(&gateway), &[key, ("Prefer", "respond-async")]).await;
    assert_eq!((again.status, again.header("location")), (202, first.header("location")));
    drop(held);
    home.world.outcome(first.header("location")).await;
    home.world.audit().await;
}

#[tokio::test]
async fn a_refused_request_leaves_no_key_behind() {
    let (home, gateway) = (home().await, gateway().await);
    let key = [("Idempotency-Key", "order-4")];
    home.world.post_with(&json!({}), &key).await.assert_problem(400, "missing_field", None);
    assert_eq!(home.world.post_with(&body(&gateway), &key).await.status, 200);
}

#[tokio::test]
async fn a_hundred_requests_with_one_key_start_one_registration() {
    let (home, gateway) = (home().await, gateway().await);
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let request = home.world.http.post(home.world.url("/api/v1/gateways"));
        let request = request.bearer_auth(home.world.owner.expose()).header("Idempotency-Key", "order-5");
        requests.spawn(Answer::of(request.json(&body(&gateway))));
    }
    let answers = requests.join_all().await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert!(count(200) >= 1 && count(200) + count(409) == 100, "{} and {}", count(200), count(409));
    home.world.audit().await;
    let requested =
        home.world.log().await.iter().filter(|event| event.event_type == "GatewayRequested").count();
    let agents = gateway.agents().iter().filter(|agent| agent.id.starts_with("agent-")).count();
    assert_eq!((requested, agents), (1, 1));
}
