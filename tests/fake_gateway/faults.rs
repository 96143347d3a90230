//! Faults strike where they are told to, and as often.

use std::time::Duration;

use harness::fake_gateway::{FakeGateway, Fault, Options, Version};
use serde_json::json;
use tokio_tungstenite::tungstenite::Error;

use crate::client::{Seen, connect_request, connected, dial};

fn at(method: &str) -> String {
    method.to_owned()
}

#[tokio::test]
async fn a_call_can_be_closed_dropped_or_lost_after_it_was_done() {
    let faults = vec![
        Fault::CloseAt { method: at("agents.list"), code: 1001, times: 1 },
        Fault::DropAt { method: at("status"), times: 1 },
        Fault::DropAfter { method: at("agents.create"), times: 1 },
    ];
    let gateway = FakeGateway::start(Options { faults, ..Options::default() }).await;
    assert_eq!(
        connected(&gateway).await.call("agents.list", json!({})).await,
        Seen::Closed(1001, String::new())
    );
    assert_eq!(connected(&gateway).await.call("status", json!({})).await, Seen::Dropped);
    let create = json!({ "name": "a", "workspace": "/w/a" });
    assert_eq!(connected(&gateway).await.call("agents.create", create).await, Seen::Dropped);
    assert!(gateway.agents().iter().any(|agent| agent.id == "a"));
    let mut client = connected(&gateway).await;
    client.ok("agents.list", json!({})).await;
    client.ok("status", json!({})).await;
    assert_eq!((gateway.dials(), gateway.connects()), (4, 4));
}

#[tokio::test]
async fn the_handshake_can_be_refused_at_every_step() {
    let starting = Fault::UnavailableWhileStarting { times: 1, retry_after_ms: 500 };
    for (fault, code, message) in [
        (starting, 1013, "gateway starting; retry shortly"),
        (Fault::LockedOut, 1008, "unauthorized: too many failed authentication attempts (retry later)"),
        (Fault::ProtocolOnly(5), 1002, "protocol mismatch"),
    ] {
        let gateway = FakeGateway::start(Options::default().with(fault)).await;
        let mut client = dial(&gateway, &[]).await.unwrap();
        client.send(&connect_request("gateway-token")).await;
        let Seen::Frame(frame) = client.answer().await else { unreachable!("{message}") };
        assert_eq!(frame["error"]["message"], message);
        assert!(matches!(client.next().await, Seen::Closed(closed, _) if closed == code), "{message}");
    }
    let gateway =
        FakeGateway::start(Options::default().with(Fault::CloseBeforeHello { code: 1000, times: 1 })).await;
    let mut client = dial(&gateway, &[]).await.unwrap();
    client.send(&connect_request("gateway-token")).await;
    assert_eq!(client.answer().await, Seen::Closed(1000, String::new()));
    connected(&gateway).await;
}

#[tokio::test]
async fn an_upgrade_can_be_refused_redirected_or_muted() {
    for (fault, status) in [
        (Fault::HttpAtUpgrade { status: 503, times: 1 }, 503),
        (Fault::RedirectAtUpgrade("http://127.0.0.1:1/".to_owned()), 302),
    ] {
        let gateway = FakeGateway::start(Options::default().with(fault)).await;
        let Err(Error::Http(response)) = dial(&gateway, &[]).await else { unreachable!("{status}") };
        assert_eq!(response.status().as_u16(), status);
    }
    let gateway = FakeGateway::start(Options::default().with(Fault::MuteAfterUpgrade)).await;
    let mut client = dial(&gateway, &[]).await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(100), client.next()).await;
    assert!(silence.is_err());
}

#[tokio::test]
async fn a_patch_can_restart_it_twice() {
    let fault = Fault::RestartAfterPatch {
        down: Duration::from_millis(20),
        delay: Duration::from_millis(10),
        twice: true,
    };
    let gateway = FakeGateway::start(Options::default().with(fault)).await;
    for restarts in [1, 2] {
        let mut client = connected(&gateway).await;
        if restarts == 1 {
            let hash = client.ok("config.get", json!({})).await["hash"].clone();
            client.ok("config.patch", json!({ "raw": "{\"tools\":{}}", "baseHash": hash })).await;
        }
        assert_eq!(client.answer().await, Seen::Closed(1012, "service restart".to_owned()));
        assert_eq!(gateway.restarts(), restarts);
    }
}

#[tokio::test]
async fn a_restart_after_the_wake_message_cuts_nobody_who_has_to_come_back() {
    let (down, delay) = (Duration::from_millis(1), Duration::from_millis(200));
    let restarting = Fault::RestartAfterPatch { down, delay, twice: false };
    for is_done in [false, true] {
        let gateway = FakeGateway::start(Options::default().with(restarting.clone())).await;
        let mut client = connected(&gateway).await;
        let hash = client.ok("config.get", json!({})).await["hash"].clone();
        client.ok("config.patch", json!({ "raw": "{\"tools\":{}}", "baseHash": hash })).await;
        if is_done {
            let message = json!({ "sessionKey": "agent:main:main", "message": "m", "idempotencyKey": "k" });
            client.ok("chat.send", message).await;
        }
        while !matches!(client.next().await, Seen::Closed(1012, _)) {}
        assert_eq!(gateway.connections_cut(), usize::from(!is_done));
    }
}

#[tokio::test]
async fn a_held_call_waits_for_its_guard() {
    let gateway = FakeGateway::start(Options::default()).await;
    let guard = gateway.hold("agents.create");
    let mut client = connected(&gateway).await;
    let call = client.call("agents.create", json!({ "name": "a", "workspace": "/w/a" }));
    let (seen, ()) = tokio::join!(call, async {
        guard.arrived().await;
        assert!(gateway.agents().is_empty());
        drop(guard);
    });
    assert!(matches!(seen, Seen::Frame(frame) if frame["ok"] == json!(true)));
}

#[tokio::test]
async fn an_answer_can_be_20_mb_or_echo_the_token() {
    let faults = vec![
        Fault::BigConfig { bytes: 20 << 20 },
        Fault::EchoInError { method: at("status"), text: "nul \0 and {token}".to_owned() },
    ];
    let gateway = FakeGateway::start(Options { faults, ..Options::default() }).await;
    let mut client = connected(&gateway).await;
    let config = client.ok("config.get", json!({})).await;
    assert!(config["raw"].as_str().unwrap().len() >= 20 << 20);
    assert_eq!(client.error("status", json!({})).await["message"], "nul \0 and gateway-token");
}

#[tokio::test]
async fn an_agent_just_created_may_not_be_found_once() {
    let gateway = FakeGateway::start(Options::default().with(Fault::AgentNotFoundAfterCreate)).await;
    let mut client = connected(&gateway).await;
    client.ok("agents.create", json!({ "name": "a", "workspace": "/w/a" })).await;
    assert_eq!(
        client.error("agents.update", json!({ "agentId": "a" })).await["message"],
        "agent \"a\" not found"
    );
    client.ok("agents.update", json!({ "agentId": "a" })).await;
}

#[tokio::test]
async fn a_closed_port_refuses_and_opens_again() {
    let gateway = FakeGateway::start(Options::version(Version::V2026_6_11)).await;
    gateway.refuse_dials(true);
    while dial(&gateway, &[]).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gateway.refuse_dials(false);
    connected(&gateway).await;
}

#[tokio::test]
async fn tls_and_plain_do_not_talk_to_each_other() {
    let gateway = FakeGateway::start(Options { tls: true, ..Options::default() }).await;
    let plain = format!("ws://127.0.0.1:{}", gateway.port());
    assert!(gateway.url().starts_with("wss://"));
    assert!(tokio_tungstenite::connect_async(plain).await.is_err());
    assert_eq!((gateway.dials(), gateway.connects()), (1, 0));
}
