//! Refusals and rules that no recording holds.

use harness::fake_gateway::{ControlUi, FakeGateway, Fault, Options, Version};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use crate::client::{Seen, connect_request, connected, dial};

/// HTTP status of an upgrade that is refused.
async fn status(gateway: &FakeGateway, headers: &[(&'static str, String)]) -> u16 {
    match dial(gateway, headers).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        _ => 0,
    }
}

#[tokio::test]
async fn proxy_headers_are_forbidden_on_2026_9_6() {
    let gateway = FakeGateway::start(Options::default()).await;
    assert_eq!(status(&gateway, &[("x-forwarded-for", "203.0.113.9".to_owned())]).await, 403);
    assert_eq!((gateway.dials(), gateway.connects()), (1, 0));
}

#[tokio::test]
#[should_panic(expected = "no mode without a secret")]
async fn version_2026_2_9_does_not_start_without_a_secret() {
    let _gateway = FakeGateway::start(Options { token: None, ..Options::version(Version::V2026_2_9) }).await;
}

#[tokio::test]
async fn a_frame_beyond_the_limit_closes_with_1009() {
    let gateway = FakeGateway::start(Options::version(Version::V2026_2_9)).await;
    let mut client = connected(&gateway).await;
    let seen = client.call("health", json!({ "pad": "x".repeat(600 * 1024) })).await;
    assert!(matches!(seen, Seen::Closed(1009, _)), "{seen:?}");
    let gateway = FakeGateway::start(Options::default()).await;
    let mut client = dial(&gateway, &[]).await.unwrap();
    client.send(&json!({ "pad": "x".repeat(70 * 1024) })).await;
    let seen = client.answer().await;
    assert!(matches!(seen, Seen::Closed(1009, _)), "{seen:?}");
}

#[tokio::test]
async fn what_is_not_a_request_is_refused_before_hello() {
    let gateway = FakeGateway::start(Options::default()).await;
    let mut client = dial(&gateway, &[]).await.unwrap();
    client.send(&json!({ "hello": true })).await;
    assert_eq!(client.answer().await, Seen::Closed(1008, "invalid request frame".to_owned()));
}

#[tokio::test]
async fn a_device_less_client_of_2026_3_13_has_no_scopes_but_health() {
    let gateway = FakeGateway::start(Options::version(Version::V2026_3_13)).await;
    let mut client = connected(&gateway).await;
    client.ok("health", json!({})).await;
    assert_eq!(client.error("config.get", json!({})).await["message"], "missing scope: operator.read");
}

#[tokio::test]
async fn control_ui_gets_in_where_device_auth_is_disabled() {
    for (version, enters) in [
        (Version::V2026_2_9, true),
        (Version::V2026_3_13, true),
        (Version::V2026_6_11, true),
        (Version::V2026_9_6, false),
    ] {
        let options = Options { control_ui: ControlUi::DeviceAuthDisabled, ..Options::version(version) };
        let gateway = FakeGateway::start(options).await;
        let origin = format!("http://127.0.0.1:{}", gateway.port());
        let mut client = dial(&gateway, &[("origin", origin)]).await.unwrap();
        let mut request = connect_request("gateway-token");
        request["params"]["client"]["id"] = json!("openclaw-control-ui");
        request["params"]["client"]["mode"] = json!("ui");
        client.send(&request).await;
        let Seen::Frame(frame) = client.answer().await else { unreachable!("{version:?}") };
        assert_eq!(frame["ok"], json!(enters), "{version:?}");
        if enters {
            client.ok("config.get", json!({})).await;
        }
    }
}

async fn patch(client: &mut crate::client::Client, patch: Value) -> Value {
    let config = client.ok("config.get", json!({})).await;
    let hash = config.get("hash");
    client.ok("config.patch", json!({ "raw": patch.to_string(), "baseHash": hash })).await
}

#[tokio::test]
async fn a_partial_list_destroys_the_others_on_2026_2_9_only() {
    for (version, left) in [(Version::V2026_2_9, 1), (Version::V2026_6_11, 2)] {
        let gateway = FakeGateway::start(Options { hurry: 1, ..Options::version(version) }).await;
        let mut client = connected(&gateway).await;
        client.ok("agents.create", json!({ "name": "One Two!", "workspace": "/w/one" })).await;
        patch(
            &mut client,
            json!({ "agents": { "list": [{ "id": "one-two", "heartbeat": { "every": "10m" } }] } }),
        )
        .await;
        assert_eq!(gateway.agents().len(), left, "{version:?}");
    }
}

#[tokio::test]
async fn who_beats_where_no_entry_says_it_differs_between_versions() {
    for (version, other) in
        [(Version::V2026_2_9, None), (Version::V2026_6_11, Some("45m")), (Version::V2026_9_6, Some("45m"))]
    {
        let defaults = json!({ "agents": { "defaults": { "heartbeat": { "every": "45m" } } } });
        let gateway =
            FakeGateway::start(Options { initial_config: defaults, ..Options::version(version) }).await;
        let mut client = connected(&gateway).await;
        let created = json!({ "name": "one", "workspace": "/w/one" });
        client.ok("agents.create", created).await;
        assert_eq!(gateway.effective_heartbeat("main").as_deref(), Some("45m"), "{version:?}");
        assert_eq!(gateway.effective_heartbeat("one").as_deref(), other, "{version:?}");
        // 2026.2.9 restarts when an agent is created.
        gateway.settled().await;
        let mut client = connected(&gateway).await;
        let status = client.ok("status", json!({})).await;
        let told = status.pointer("/heartbeat/agents/1").unwrap();
        assert_eq!(
            (&told["agentId"], &told["enabled"]),
            (&json!("one"), &json!(other.is_some())),
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn a_heartbeat_of_one_agent_switches_the_others_off() {
    let gateway = FakeGateway::start(Options::default()).await;
    let mut client = connected(&gateway).await;
    client.ok("agents.create", json!({ "name": "one", "workspace": "/w/one" })).await;
    assert_eq!(gateway.effective_heartbeat("main").as_deref(), Some("30m"));
    assert_eq!(gateway.effective_heartbeat("one"), None);
    patch(&mut client, json!({ "agents": { "entries": { "one": { "heartbeat": { "every": "10m" } } } } }))
        .await;
    assert_eq!(gateway.effective_heartbeat("main"), None);
    assert_eq!(gateway.effective_heartbeat("one").as_deref(), Some("10m"));
    patch(&mut client, json!({ "agents": { "entries": { "main": { "heartbeat": {} } } } })).await;
    assert_eq!(gateway.effective_heartbeat("main").as_deref(), Some("30m"));
    assert_eq!(gateway.restarts(), 0);
}

#[tokio::test]
async fn the_fourth_patch_in_a_minute_is_limited() {
    let gateway = FakeGateway::start(Options { hurry: 1, ..Options::version(Version::V2026_6_11) }).await;
    let mut client = connected(&gateway).await;
    for _ in 0..3 {
        patch(&mut client, json!({ "agents": { "defaults": {} } })).await;
    }
    let error = client.error("config.patch", json!({ "raw": "{}", "baseHash": "x" })).await;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("UNAVAILABLE"), &json!(true)));
}

#[tokio::test]
async fn strange_keys_are_refused() {
    let gateway = FakeGateway::start(Options::default()).await;
    let mut client = connected(&gateway).await;
    let error =
        client.error("agents.create", json!({ "name": "a", "workspace": "/w", "heartbeat": {} })).await;
    assert_eq!(error["message"], "invalid agents.create params: at root: unexpected property 'heartbeat'");
    let hash = client.ok("config.get", json!({})).await["hash"].clone();
    let raw = json!({ "agents": { "entries": { "main": { "heartbeat": { "includeReasoning": false } } } } })
        .to_string();
    let error = client.error("config.patch", json!({ "raw": raw, "baseHash": hash })).await;
    assert_eq!(error["details"]["issues"][0]["path"], "agents.entries.main.heartbeat");
}

#[tokio::test]
async fn labels_are_unique_and_bounded() {
    let gateway = FakeGateway::start(Options::version(Version::V2026_2_9)).await;
    let mut client = connected(&gateway).await;
    client.ok("sessions.patch", json!({ "key": "agent:main:main", "label": "L" })).await;
    let error = client.error("sessions.patch", json!({ "key": "agent:main:other", "label": "L" })).await;
    assert_eq!(error["message"], "label already in use: L");
    client.error("sessions.patch", json!({ "key": "agent:main:other", "label": "x".repeat(65) })).await;
    assert_eq!(gateway.session_label("agent:main:main").as_deref(), Some("L"));
}

#[tokio::test]
async fn a_message_is_taken_once_per_idempotency_key() {
    let gateway = FakeGateway::start(Options::default()).await;
    let mut client = connected(&gateway).await;
    let params = json!({ "sessionKey": "agent:main:main", "message": "m", "idempotencyKey": "k" });
    for status in ["started", "in_flight", "ok"] {
        assert_eq!(client.ok("chat.send", params.clone()).await["status"], status);
    }
    assert_eq!(gateway.messages(), vec![("agent:main:main".to_owned(), "m".to_owned())]);
    client.error("chat.send", json!({ "sessionKey": "agent:main:main", "message": "m" })).await;
}

#[tokio::test]
async fn an_unknown_method_is_refused() {
    let gateway =
        FakeGateway::start(Options::default().with(Fault::UnknownMethod("config.schema".to_owned()))).await;
    let mut client = connected(&gateway).await;
    for method in ["agents.files.delete", "config.schema"] {
        assert_eq!(client.error(method, json!({})).await["message"], format!("unknown method: {method}"));
    }
}
