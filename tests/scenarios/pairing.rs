//! A gateway that wants our device approved, and the token that it then issues to it.

use std::time::{Duration, Instant};

use harness::{
    fake_gateway::{FakeGateway, Fault, Options, Version},
    world::{Answer, Setup, World, body},
};
use serde_json::json;

use crate::{homes, homes_with};

/// What two busy cores may add.
const SLACK: Duration = Duration::from_secs(5);

fn unpaired() -> Options {
    Options::default()
        .with(Fault::PairingRequired { request_id: "req-4711".to_owned(), approved_after: None })
}

async fn post(world: &World, path: &str) -> Answer {
    Answer::of(world.http.post(world.url(path)).bearer_auth(world.owner.expose())).await
}

#[tokio::test]
async fn an_asynchronous_registration_waits_for_the_approval_and_finishes_by_itself() {
    for (name, home) in homes().await {
        let world = &home.world;
        let gateway = FakeGateway::start(unpaired()).await;
        let started = world.post_with(&body(&gateway), &[("Prefer", "respond-async")]).await;
        assert_eq!(started.status, 202, "{name}: {}", started.text);
        let mut status = String::new();
        for _ in 0..500 {
            status = world.get(started.header("location")).await.json["status"].as_str().unwrap().to_owned();
            if status == "awaiting_pairing" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(status, "awaiting_pairing", "{name}");
        let gateway_id = started.json["gateway_id"].as_str().unwrap();
        let events = world.get(&format!("/api/v1/gateways/{gateway_id}/events")).await;
        let required = &events.json["items"][1];
        assert_eq!(required["type"], "PairingRequired", "{name}");
        assert_eq!(required["data"]["request_id"], "req-4711", "{name}");
        assert_eq!(required["data"]["approve"], "openclaw devices approve req-4711", "{name}");
        assert_eq!(gateway.dials(), 1, "{name}: no dial before the next look is due");
        gateway.approve_pairing();
        let done = world.outcome(started.header("location")).await;
        assert_eq!(done.json["status"], "succeeded", "{name}: {}", done.text);
        assert_eq!(gateway.dials(), 2, "{name}");
        let looked = world.history(gateway_id).await;
        assert_eq!(looked.iter().filter(|event| *event == "PairingRequired").count(), 1, "{name}");
        world.audit().await;
    }
}

#[tokio::test]
async fn an_approval_that_nobody_gives_ends_as_a_failure_after_its_time() {
    let pairing_wait = Duration::from_secs(12);
    for (name, home) in homes_with(&Setup { pairing_wait, ..Setup::default() }).await {
        let world = &home.world;
        let gateway = FakeGateway::start(unpaired()).await;
        let asked = Instant::now();
        let started = world.post_with(&body(&gateway), &[("Prefer", "respond-async")]).await;
        assert_eq!(started.status, 202, "{name}: {}", started.text);
        let ended = world.outcome(started.header("location")).await;
        let took = asked.elapsed();
        assert_eq!(ended.json["status"], "failed", "{name}: {}", ended.text);
        let error = &ended.json["error"];
        let told = (error["code"].as_str(), error["stage"].as_str(), error["status"].as_u64());
        assert_eq!(
            told,
            (Some("gateway_pairing_required"), Some("handshake"), Some(502)),
            "{name}: {error:#}"
        );
        assert_eq!(error["pairing_request_id"], "req-4711", "{name}");
        assert!(took >= pairing_wait && took < pairing_wait + SLACK, "{name}: {took:?}");
        // At once, after 5 s and 10 s, and at the end: an approval of the last moment counts.
        assert_eq!(gateway.dials(), 4, "{name}");
        let gateway_id = started.json["gateway_id"].as_str().unwrap();
        let history = world.history(gateway_id).await;
        assert_eq!(history, ["GatewayRequested", "PairingRequired", "GatewayCreationFailed"], "{name}");
        world.audit().await;
    }
}

#[tokio::test]
async fn a_waiting_client_is_told_what_to_approve_and_retries_afterwards() {
    for (name, home) in homes().await {
        let world = &home.world;
        let gateway = FakeGateway::start(unpaired()).await;
        let told = world.post(&body(&gateway)).await;
        told.assert_problem(502, "gateway_pairing_required", Some("handshake"));
        assert_eq!(told.json["pairing_request_id"], "req-4711", "{name}");
        assert_eq!(told.json["device_id"].as_str().unwrap().len(), 64, "{name}");
        let detail = told.json["detail"].as_str().unwrap();
        assert!(detail.contains("openclaw devices approve req-4711"), "{name}: {detail}");
        gateway.approve_pairing();
        let path = format!("/api/v1/gateways/{}/retry", told.json["gateway_id"].as_str().unwrap());
        let retried = post(world, &path).await;
        assert_eq!(retried.status, 200, "{name}: {}", retried.text);
        world.audit().await;
    }
}

#[tokio::test]
async fn the_token_of_our_device_is_sealed_and_outlives_a_change_of_the_shared_one() {
    for (name, home) in homes().await {
        let world = &home.world;
        // This version issues a token to every device that it pairs by itself.
        let gateway = FakeGateway::start(Options::version(Version::V2026_2_9)).await;
        let created = world.post(&body(&gateway)).await;
        assert_eq!(created.status, 200, "{name}: {}", created.text);
        let id = created.json["id"].as_str().unwrap().parse().unwrap();
        let owner = shared::register::device_token_owner(id);
        assert!(world.store.secret(&owner).await.unwrap().is_some(), "{name}: nothing is sealed");
        gateway.edit_config(|config| config["gateway"]["auth"]["token"] = json!("another-token"));
        let status = world.get(&format!("/api/v1/gateways/{id}/status")).await;
        assert_eq!(status.json["connected"], true, "{name}: {}", status.text);
        assert_eq!(gateway.rejected_tokens(), 0, "{name}");
        world.audit().await;
    }
}

#[tokio::test]
async fn a_device_token_that_is_refused_gives_way_to_the_shared_one_once() {
    for (name, home) in homes().await {
        let world = &home.world;
        let gateway = FakeGateway::start(Options::version(Version::V2026_2_9)).await;
        let created = world.post(&body(&gateway)).await;
        assert_eq!(created.status, 200, "{name}: {}", created.text);
        gateway.forget_devices();
        let id = created.json["id"].as_str().unwrap();
        let status = world.get(&format!("/api/v1/gateways/{id}/status")).await;
        assert_eq!(status.json["connected"], true, "{name}: {}", status.text);
        assert_eq!(gateway.rejected_tokens(), 1, "{name}");
        world.audit().await;
    }
}
