//! A gateway that counts us as a remote client and wants a person to approve our device.

use std::time::{Duration, Instant};

use harness::openclaw::{Gateway, Options, Proxy, Version};
use serde_json::json;

use crate::{
    compatibility::Look,
    registration::{MissionControl, Registration},
};

#[tokio::test]
async fn a_remote_2026_9_6_is_registered_once_our_device_is_approved() {
    approved(Version::V2026_9_6).await;
}

#[tokio::test]
async fn a_remote_2026_6_11_is_registered_once_our_device_is_approved() {
    approved(Version::V2026_6_11).await;
}

#[tokio::test]
async fn a_remote_2026_2_9_is_registered_once_our_device_is_approved() {
    approved(Version::V2026_2_9).await;
}

async fn approved(version: Version) {
    let mut gateway = Gateway::start(Options { behind_proxy: true, ..Options::new(version) }).await;
    let control = MissionControl::start().await;
    let before = gateway.held().await;
    let proxy = Proxy::forwarding_for(&gateway, "203.0.113.9").await;
    let registration = Registration::of(&gateway, &proxy);

    let look = Look::through(&proxy, &gateway);
    let result = control.register(&registration).await;
    look.registered("register before our device is approved", &result);
    let refusal = result.expect_err("a person must approve first");
    assert_eq!(refusal.what(), (502, "gateway_pairing_required", "handshake"), "{refusal:?}");
    assert_eq!(proxy.connections(), 1);
    let request = refusal.text("pairing_request_id");
    assert!(refusal.text("detail").contains(&format!("openclaw devices approve {request}")), "{refusal:?}");
    assert_eq!(gateway.held().await.entries(), before.entries());

    let waiting = control.begin(&registration).await;
    until_it_waits(&control, &waiting).await;
    approve(&gateway, refusal.text("device_id"), request).await;
    let connections = proxy.connections();
    let look = Look::at(&gateway);
    let first = control.outcome(&waiting).await.expect("it is registered as soon as it may");
    look.end().saw("register, and approve our device meanwhile", "registered by itself");
    // While an agent is at work 2026.6.11 leaves new connections unanswered.
    gateway.until_run_of(&first.on_gateway()).await;
    let second = control.retry(refusal.text("gateway_id")).await.expect("it is registered");
    assert_eq!(proxy.connections(), connections + 2 + gateway.restarts());

    let held = gateway.held().await;
    for agent in [&first, &second] {
        assert!(held.agent(&agent.on_gateway()).is_some());
    }

    gateway.until_run_of(&second.on_gateway()).await;

    // What the gateway issued to our device outlives its token.
    gateway.stop().await;
    gateway.change_secret("another-secret-0815");
    gateway.start_again().await;
    let status = control.status(&first).await;
    assert_eq!(status["connected"], json!(true), "{status}");
    assert_eq!(
        control.register(&registration).await.expect_err("a new one has none").what().1,
        "gateway_auth_failed"
    );
    control.remove(&second).await.expect("it is removed");
    assert!(gateway.held().await.agent(&second.on_gateway()).is_none());
    control.stop().await;
    gateway.stop().await;
}

async fn until_it_waits(control: &MissionControl, operation: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    while control.operation(operation).await["status"] != json!("awaiting_pairing") {
        assert!(Instant::now() < until, "it does not wait for a person");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What `openclaw devices approve` does.
async fn approve(gateway: &Gateway, device: &str, request: &str) {
    let mut person = gateway.client().await;
    let list = person.ok("device.pair.list", json!({})).await;
    let pending = list["pending"].as_array().expect("a list");
    assert_eq!(pending.len(), 1, "the request is the same for every try: {list}");
    assert_eq!((&pending[0]["deviceId"], &pending[0]["requestId"]), (&json!(device), &json!(request)));
    // A client that reads nothing keeps 2026.2.9 from closing its connections, and so from restarting: this one goes.
    person.ok("device.pair.approve", json!({"requestId": request})).await;
}
