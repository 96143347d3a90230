//! What the gateway did, as the caller is told it; the whole table is in the scenarios.

use harness::{
    fake_gateway::{FakeGateway, Options, Version},
    world::{Setup, body},
};
use serde_json::json;
use worker::gateway::policy::AddressPolicy;

use super::{gateway, home, home_with, snapshot};

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let home = home().await;
    let closed = gateway().await;
    closed.refuse_dials(true);
    let answer = home.world.post(&body(&closed)).await;
    snapshot("gateway_unreachable", &answer);
    let id = answer.json["gateway_id"].as_str().unwrap();
    assert_eq!(home.world.get("/api/v1/gateways").await.json["total"], 0);
    home.world.get(&format!("/api/v1/gateways/{id}")).await.assert_problem(404, "not_found", None);
    let operation =
        home.world.get(&format!("/api/v1/operations/{}", answer.json["operation"].as_str().unwrap())).await;
    assert_eq!(operation.json["error"], answer.json);
    snapshot("get_operation_failed", &operation);
    let events = home.world.get(&format!("/api/v1/gateways/{id}/events")).await;
    assert_eq!(events.json["items"][1]["type"], "GatewayCreationFailed");
    home.world.audit().await;
}

#[tokio::test]
async fn an_unknown_host_is_unreachable() {
    let home = home().await;
    let body = json!({"name": "x", "url": "ws://gateway.invalid:18789", "workspace_root": "/ws"});
    let answer = home.world.post(&body).await;
    answer.assert_problem(502, "gateway_unreachable", Some("dns"));
    home.world.audit().await;
}

#[tokio::test]
async fn a_forbidden_address_is_refused_before_it_is_dialled() {
    let policy = AddressPolicy { deny: vec!["127.0.0.0/8".parse().unwrap()], ..AddressPolicy::default() };
    let home = home_with(Setup { policy, ..Setup::default() }).await;
    let world = &home.world;
    let gateway = gateway().await;
    let answer = world.post(&body(&gateway)).await;
    snapshot("gateway_address_refused", &answer);
    assert_eq!(gateway.dials(), 0);
    world.audit().await;
}

#[tokio::test]
async fn our_own_listener_is_never_dialled() {
    let home = home().await;
    let body = json!({"name": "x", "url": format!("ws://{}", home.world.address), "workspace_root": "/ws"});
    home.world.post(&body).await.assert_problem(502, "gateway_address_refused", Some("policy"));
}

#[tokio::test]
async fn a_wrong_token_is_tried_once() {
    let (home, gateway) = (home().await, gateway().await);
    let mut body = body(&gateway);
    body["token"] = json!("not-the-token");
    let answer = home.world.post(&body).await;
    snapshot("gateway_auth_failed", &answer);
    assert_eq!((gateway.dials(), gateway.rejected_tokens()), (1, 1));
    assert!(gateway.agents().iter().all(|agent| !agent.id.starts_with("agent-")));
    assert_eq!(home.world.get("/api/v1/gateways").await.json["total"], 0);
    home.world.audit().await;
}

#[tokio::test]
async fn a_gateway_below_the_minimum_is_not_supported() {
    let home = home().await;
    let options =
        Options { reported_version: Some("2026.1.29".to_owned()), ..Options::version(Version::V2026_3_13) };
    let gateway = FakeGateway::start(options).await;
    let answer = home.world.post(&body(&gateway)).await;
    snapshot("gateway_version_unsupported", &answer);
    assert_eq!(answer.header("retry-after"), "");
    assert!(gateway.agents().iter().all(|agent| !agent.id.starts_with("agent-")));
    assert_eq!(home.world.get("/api/v1/gateways").await.json["total"], 0);
    home.world.audit().await;
}
