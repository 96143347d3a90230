//! The monitor: registered gateways are probed without being asked, and an event tells only what turned.

use std::time::Duration;

use harness::{
    fake_gateway::{FakeGateway, Fault, Options},
    world::{Setup, World, body},
};
use reqwest::Method;
use serde_json::json;

use crate::homes_with;

/// Short, so that a test sees many probes.
const EVERY: Duration = Duration::from_millis(400);

fn setup() -> Setup {
    Setup { monitor_every: Some(EVERY), ..Setup::default() }
}

/// Waits until the gateway is shown with this status.
async fn until_status(world: &World, path: &str, status: &str) -> serde_json::Value {
    until_shown(world, path, ("status", status)).await
}

/// Waits until the gateway is shown with this value in a field.
async fn until_shown(world: &World, path: &str, (field, wanted): (&str, &str)) -> serde_json::Value {
    let mut shown = serde_json::Value::Null;
    for _ in 0..1_200 {
        shown = world.get(path).await.json;
        if shown[field] == wanted {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not {wanted} within 30 s: {shown:#}");
}

/// Waits until the gateway was dialled so often more.
async fn until_dialled(gateway: &FakeGateway, more: usize) {
    let before = gateway.dials();
    let dialled = async {
        while gateway.dials() < before + more {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), dialled).await.expect("it is probed");
}

async fn register(world: &World, gateway: &FakeGateway) -> (String, String) {
    let created = world.post(&body(gateway)).await;
    assert_eq!(created.status, 200, "{}", created.text);
    let id = created.json["id"].as_str().unwrap().to_owned();
    (format!("/api/v1/gateways/{id}"), id)
}

#[tokio::test]
async fn a_gateway_that_goes_away_and_comes_back_leaves_two_events() {
    for (name, home) in homes_with(&setup()).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (path, id) = register(world, &gateway).await;
        until_dialled(&gateway, 3).await;
        assert_eq!(world.history(&id).await.len(), 4, "{name}: probes leave no event");
        let operation = world.get("/api/v1/operations").await.json["items"][0].clone();
        gateway.refuse_dials(true);
        let shown = until_status(world, &path, "offline").await;
        assert!(shown["last_error"].as_str().unwrap().contains("refused"), "{name}: {shown:#}");
        gateway.refuse_dials(false);
        let shown = until_status(world, &path, "active").await;
        assert_eq!(shown["last_error"], serde_json::Value::Null, "{name}");
        until_dialled(&gateway, 3).await;
        let history = world.history(&id).await;
        assert_eq!(history[4..], ["GatewayWentOffline", "GatewayCameOnline"], "{name}");
        let seen = world.get(&format!("{path}/events")).await.json["items"].clone();
        assert_eq!(
            (&seen[4]["data"]["misses"], &seen[4]["data"]["stage"]),
            (&json!(3), &json!("tcp")),
            "{name}"
        );
        assert_eq!(seen[4]["operation"], serde_json::Value::Null, "{name}: nobody asked for it");
        let now = world.get("/api/v1/operations").await.json["items"][0].clone();
        assert_eq!(now, operation, "{name}: what was answered stays");
        world.audit().await;
    }
}

#[tokio::test]
async fn a_refused_credential_is_not_sent_again_until_it_changes() {
    for (name, home) in homes_with(&setup()).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (path, id) = register(world, &gateway).await;
        let port = gateway.port();
        gateway.stop().await;
        let changed = Options { token: Some("another-token".to_owned()), ..Options::default() };
        let gateway = FakeGateway::start_on(port, changed).await;
        let shown = until_status(world, &path, "degraded").await;
        assert!(!shown["last_error"].as_str().unwrap().is_empty(), "{name}");
        assert_eq!(gateway.rejected_tokens(), 1, "{name}: once is enough to know");
        tokio::time::sleep(EVERY * 6).await;
        assert_eq!(gateway.rejected_tokens(), 1, "{name}");
        let token = json!({"token": "another-token"});
        let patched = world.send(Method::PATCH, &path, &token, &[]).await;
        assert_eq!(
            (patched.status, &patched.json["status"]),
            (200, &json!("active")),
            "{name}: {}",
            patched.text
        );
        until_dialled(&gateway, 2).await;
        let history = world.history(&id).await;
        let turned = history.iter().skip(4).filter(|event| *event != "GatewayWentOffline");
        let told = ["GatewayDegraded", "GatewayUpdateRequested", "GatewayUpdated"];
        assert!(turned.eq(told.iter()), "{name}: {history:?}");
        world.audit().await;
    }
}

#[tokio::test]
async fn a_person_who_asks_ends_the_wait_after_a_refused_credential() {
    for (name, home) in homes_with(&setup()).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (path, id) = register(world, &gateway).await;
        gateway.set_faults(vec![Fault::LockedOut]);
        until_status(world, &path, "degraded").await;
        gateway.set_faults(vec![]);
        let synced = world.send(Method::POST, &format!("{path}/templates/sync"), &json!({}), &[]).await;
        assert_eq!(synced.status, 200, "{name}: {}", synced.text);
        until_status(world, &path, "active").await;
        until_dialled(&gateway, 2).await;
        assert_eq!(world.history(&id).await[4], "GatewayDegraded", "{name}");
        world.audit().await;
    }
}

#[tokio::test]
async fn what_a_job_was_refused_is_not_sent_by_the_monitor() {
    for (name, home) in homes_with(&setup()).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (path, _) = register(world, &gateway).await;
        gateway.set_faults(vec![Fault::LockedOut]);
        let synced = world.send(Method::POST, &format!("{path}/templates/sync"), &json!({}), &[]).await;
        synced.assert_problem(502, "gateway_auth_failed", Some("handshake"));
        let refused = gateway.rejected_tokens();
        assert_eq!(world.get(&path).await.json["status"], "degraded", "{name}");
        tokio::time::sleep(EVERY * 6).await;
        // A probe may have been under way.
        assert!(gateway.rejected_tokens() <= refused + 1, "{name}: {}", gateway.rejected_tokens());
        world.audit().await;
    }
}

#[tokio::test]
async fn a_gateway_that_runs_another_version_is_noticed_once() {
    for (name, home) in homes_with(&setup()).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (path, id) = register(world, &gateway).await;
        let before = world.get(&path).await.json["runtime_version"].clone();
        let port = gateway.port();
        gateway.stop().await;
        let upgraded = Options { reported_version: Some("2026.10.1".to_owned()), ..Options::default() };
        let gateway = FakeGateway::start_on(port, upgraded).await;
        until_shown(world, &path, ("runtime_version", "2026.10.1")).await;
        until_dialled(&gateway, 3).await;
        let shown = until_status(world, &path, "active").await;
        assert_eq!(
            (&shown["runtime_version"], &shown["status"]),
            (&json!("2026.10.1"), &json!("active")),
            "{name}"
        );
        let events = world.get(&format!("{path}/events")).await.json["items"].clone();
        let told: Vec<&serde_json::Value> = events
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["type"] == "GatewayVersionChanged")
            .collect();
        assert_eq!(told.len(), 1, "{name}: {events:#}");
        assert_eq!(told[0]["data"]["from"], before, "{name}");
        assert!(world.history(&id).await.len() <= 7, "{name}: {events:#}");
        world.audit().await;
    }
}

#[tokio::test]
async fn what_a_probe_saw_is_what_the_status_shows() {
    for (name, home) in homes_with(&setup()).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (path, id) = register(world, &gateway).await;
        until_dialled(&gateway, 3).await;
        let kept = world.store.observation(id.parse().unwrap()).await.unwrap().expect("a probe was written");
        let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
        assert_eq!((&kept["connected"], &kept["refused"]), (&json!(true), &json!(false)), "{name}: {kept:#}");
        assert!(kept["last_seen_at"].is_string() && kept["main_session"].is_string(), "{name}: {kept:#}");
        // Removed, it is not probed any more.
        let removed = world.send(Method::DELETE, &path, &json!({}), &[]).await;
        assert_eq!(removed.status, 200, "{name}: {}", removed.text);
        tokio::time::sleep(EVERY * 2).await;
        let dials = gateway.dials();
        tokio::time::sleep(EVERY * 5).await;
        assert_eq!(gateway.dials(), dials, "{name}");
        world.audit().await;
    }
}
