//! Changes are waited for, or not, as a creation is; one at a time for each gateway.

use harness::{
    fake_gateway::{FakeGateway, Options, Version},
    world::{Answer, Setup, body},
};
use reqwest::Method;
use serde_json::{Value, json};
use shared::register::gateway_token_owner;

use super::{Home, gateway, home, home_with};

async fn created(home: &Home, gateway: &FakeGateway) -> String {
    let created = home.world.post(&body(gateway)).await;
    assert_eq!(created.status, 200, "{}", created.text);
    format!("/api/v1/gateways/{}", created.json["id"].as_str().unwrap())
}

/// A change of each kind: its method, path, body, kind, and the first field of its result.
fn changes(path: &str) -> [(Method, String, Value, &'static str, &'static str); 3] {
    [
        (Method::PATCH, path.to_owned(), json!({"name": "Renamed"}), "update_gateway", "id"),
        (Method::POST, format!("{path}/templates/sync"), json!({}), "sync_templates", "gateway_id"),
        (Method::DELETE, path.to_owned(), json!({}), "delete_gateway", "ok"),
    ]
}

async fn ask(home: &Home, change: &(Method, String, Value, &str, &str), prefer: &str) -> Answer {
    let (method, path, body, ..) = change;
    home.world.send(method.clone(), path, body, &[("Prefer", prefer)]).await
}

#[tokio::test]
async fn who_does_not_wait_for_a_change_gets_its_operation() {
    let (home, gateway) = (home().await, gateway().await);
    let path = created(&home, &gateway).await;
    for change in changes(&path) {
        let (.., kind, field) = change;
        let answer = ask(&home, &change, "respond-async").await;
        assert_eq!((answer.status, answer.json["kind"].as_str()), (202, Some(kind)), "{}", answer.text);
        let location = answer.header("location");
        assert_eq!(location, format!("/api/v1/operations/{}", answer.json["id"].as_str().unwrap()));
        assert_eq!(answer.header("operation-location"), location);
        assert_eq!(
            (answer.header("retry-after"), answer.header("preference-applied")),
            ("1", "respond-async")
        );
        let done = home.world.outcome(location).await;
        assert_eq!((&done.json["status"], &done.json["kind"]), (&json!("succeeded"), &json!(kind)));
        assert_eq!(done.json["result"].as_object().unwrap().keys().next().unwrap(), field, "{}", done.text);
    }
    home.world.audit().await;
}

#[tokio::test]
async fn a_wait_that_is_too_short_for_a_change_ends_with_202_and_the_change_goes_on() {
    let (home, gateway) = (home().await, gateway().await);
    let path = created(&home, &gateway).await;
    for (change, method) in
        changes(&path).into_iter().zip(["agents.files.set", "agents.files.set", "agents.delete"])
    {
        let held = gateway.hold(method);
        let answer = ask(&home, &change, "wait=1").await;
        assert_eq!((answer.status, answer.header("preference-applied")), (202, "wait=1"), "{}", answer.text);
        // Nothing else may be changed meanwhile, and who tries is told what runs.
        for mut other in changes(&path) {
            other.2["name"] = json!("Another");
            let refused = ask(&home, &other, "wait=1").await;
            refused.assert_problem(409, "gateway_busy", None);
            assert_eq!(refused.json["operation"], answer.json["id"], "{}", refused.text);
        }
        drop(held);
        let done = home.world.outcome(answer.header("location")).await;
        assert_eq!(done.json["status"], "succeeded", "{}", done.text);
    }
    assert_eq!(home.world.get(&path).await.status, 404);
    home.world.audit().await;
}

#[tokio::test]
async fn without_a_preference_a_change_is_waited_for_as_long_as_the_setting_says() {
    let gateway = gateway().await;
    let mut setup = Setup::default();
    setup.api.sync_wait = std::time::Duration::from_secs(2);
    let home = home_with(setup).await;
    let path = created(&home, &gateway).await;
    let held = gateway.hold("agents.files.set");
    let answer = home.world.send(Method::PATCH, &path, &json!({"name": "Renamed"}), &[]).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (202, ""), "{}", answer.text);
    drop(held);
    home.world.outcome(answer.header("location")).await;
    home.world.audit().await;
}

#[tokio::test]
async fn a_token_that_the_gateway_does_not_ask_for_is_cleared() {
    let home = home().await;
    let options = Options { token: None, ..Options::version(Version::V2026_9_6) };
    let gateway = FakeGateway::start(options).await;
    let path = created(&home, &gateway).await;
    let owner = gateway_token_owner(path.rsplit('/').next().unwrap().parse().unwrap());
    let kept = home.world.send(Method::PATCH, &path, &json!({"name": "Renamed"}), &[]).await;
    assert_eq!((kept.status, &kept.json["has_token"]), (200, &json!(true)), "{}", kept.text);
    assert!(home.world.store.secret(&owner).await.unwrap().is_some());
    let cleared = home.world.send(Method::PATCH, &path, &json!({"token": null}), &[]).await;
    assert_eq!((cleared.status, &cleared.json["has_token"]), (200, &json!(false)), "{}", cleared.text);
    assert!(home.world.store.secret(&owner).await.unwrap().is_none());
    let dials = gateway.dials();
    let again = home.world.send(Method::PATCH, &path, &json!({"token": null}), &[]).await;
    assert_eq!((again.status, &again.json), (200, &cleared.json));
    assert_eq!(gateway.dials(), dials, "it is cleared already");
    home.world.audit().await;
}

#[tokio::test]
async fn a_condition_holds_for_a_change_that_changes_nothing_too() {
    let (home, gateway) = (home().await, gateway().await);
    let path = created(&home, &gateway).await;
    let etag = home.world.get(&path).await.header("etag").to_owned();
    for (tag, status) in [(etag.as_str(), 200), ("\"1\", \"2\"", 412), ("*", 200)] {
        let answer = home.world.send(Method::PATCH, &path, &json!({}), &[("If-Match", tag)]).await;
        assert_eq!((answer.status, answer.header("etag")), (status, etag.as_str()), "{tag}");
    }
    let listed = format!("\"x\", {etag}");
    let answer = home.world.send(Method::PATCH, &path, &json!({}), &[("If-Match", &listed)]).await;
    assert_eq!(answer.status, 200);
}
