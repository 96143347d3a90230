//! A gateway that counts us as a remote client and wants a person to approve our device.

use harness::openclaw::{Gateway, Held, Options, Proxy, Version};
use serde_json::json;
use shared::domain::gateway::failure::{Cause, Stage};

use crate::registration::{Registration, register};

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
    let before = Held::read(&mut gateway.client().await).await;
    let proxy = Proxy::forwarding_for(&gateway, "203.0.113.9").await;
    let registration = Registration::of(&gateway, &proxy);

    let failure = register(&registration).await.expect_err("a person must approve first");
    assert_eq!((failure.stage, failure.cause), (Stage::Handshake, Cause::PairingRequired), "{failure:?}");
    assert_eq!(proxy.connections(), 1);
    let request = failure.pairing_request_id.expect("the request is named");
    let device = failure.device_id.expect("the device is named");
    assert!(failure.detail.contains(&format!("openclaw devices approve {request}")), "{}", failure.detail);
    let again = register(&registration).await.expect_err("a person must approve first");
    assert_eq!(again.pairing_request_id.as_ref(), Some(&request), "the request is the same one");
    assert_eq!(Held::read(&mut gateway.client().await).await.entries(), before.entries());

    let mut person = gateway.client().await;
    let pending = person.ok("device.pair.list", json!({})).await;
    let waits = pending.pointer("/pending/0/deviceId").expect("one device waits");
    assert_eq!(waits, &json!(device));
    person.ok("device.pair.approve", json!({"requestId": request})).await;
    // A client that reads nothing keeps 2026.2.9 from closing its connections, and so from restarting.
    drop(person);

    let registered = register(&registration).await.expect("it is registered");
    assert_eq!(proxy.connections(), 3 + gateway.restarts());
    let held = Held::read(&mut gateway.client().await).await;
    assert!(held.agent(&registered.on_gateway()).is_some());
    gateway.stop().await;
}
