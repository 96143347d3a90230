//! The ways in beside a token over plain WebSocket.

use harness::openclaw::{Auth, Gateway, Options, Proxy, Version};
use serde_json::json;

use crate::{
    compatibility::Look,
    probe::{assert_usable, probe},
    registration::{MissionControl, Refusal, Registered, Registration},
};

#[tokio::test]
async fn a_2026_9_6_without_auth_is_registered_beside_a_strangers_agent() {
    without_auth(Version::V2026_9_6).await;
}

#[tokio::test]
async fn a_2026_6_11_without_auth_is_registered_beside_a_strangers_agent() {
    without_auth(Version::V2026_6_11).await;
}

async fn without_auth(version: Version) {
    let mut gateway = Gateway::start(Options { auth: Auth::None, ..Options::new(version) }).await;
    add_stranger(&gateway).await;
    assert_usable(&gateway, &[]).await;
    let before = gateway.held().await;
    // These versions give everybody the heartbeat of agents.defaults.
    assert_eq!(before.heartbeat("stranger").as_deref(), Some("45m"));

    let proxy = Proxy::before(&gateway).await;
    let control = MissionControl::start().await;
    let look = Look::through(&proxy, &gateway);
    let registered = seen(&control, &Registration::of(&gateway, &proxy), (look, "register")).await;
    let registered = registered.expect("it is registered");
    assert_eq!(proxy.connections(), 1 + gateway.restarts());

    let after = gateway.held().await;
    assert_eq!(after.heartbeat("main").as_deref(), Some("45m"));
    assert_eq!(after.heartbeat("stranger").as_deref(), Some("45m"));
    assert_eq!(after.files("stranger"), before.files("stranger"));
    assert_eq!(after.label("stranger").as_deref(), Some("a stranger's session"));
    for id in ["main", "stranger"] {
        let (mut known, entry) = (before.entries()[id].clone(), after.entries()[id].clone());
        known["heartbeat"] = json!({});
        assert_eq!(known, entry, "an empty heartbeat is all that {id} gets");
    }
    assert_eq!(after.settings(), before.settings());
    assert_eq!(after.heartbeat(&registered.on_gateway()).as_deref(), Some("30m"));
    control.stop().await;
    gateway.stop().await;
}

async fn add_stranger(gateway: &Gateway) {
    let mut client = gateway.client().await;
    let workspace = gateway.workspace_root().join("stranger");
    client.ok("agents.create", json!({"name": "stranger", "workspace": workspace})).await;
    let file = json!({"agentId": "stranger", "name": "SOUL.md", "content": "# A stranger's soul\n"});
    client.ok("agents.files.set", file).await;
    let session = json!({"key": "agent:stranger:main", "label": "a stranger's session"});
    client.ok("sessions.patch", session).await;
}

#[tokio::test]
async fn a_2026_9_6_with_tls_and_a_password_is_registered_with_the_flag_only() {
    with_tls_and_a_password(Version::V2026_9_6).await;
}

#[tokio::test]
async fn a_2026_6_11_with_tls_and_a_password_is_registered_with_the_flag_only() {
    with_tls_and_a_password(Version::V2026_6_11).await;
}

#[tokio::test]
async fn a_2026_2_9_with_tls_and_a_password_is_registered_with_the_flag_only() {
    with_tls_and_a_password(Version::V2026_2_9).await;
}

async fn with_tls_and_a_password(version: Version) {
    let options = Options { auth: Auth::Password, tls: true, ..Options::new(version) };
    let mut gateway = Gateway::start(options).await;
    let (code, report) = probe(gateway.url(), gateway.secret(), &[]).await;
    assert_eq!((code, &report["failure"]["code"]), (13, &json!("gateway_tls_failed")), "{report:#}");
    assert_usable(&gateway, &["--insecure"]).await;
    let control = MissionControl::start().await;

    let mut registration = Registration::of(&gateway, &Proxy::before(&gateway).await);
    registration.allow_insecure_tls = false;
    registration.url = gateway.url();
    let step = (Look::at(&gateway), "register without allow_insecure_tls");
    let refusal = refused(&control, &registration, step).await;
    assert_eq!(refusal.what(), (502, "gateway_tls_failed", "tls"), "{refusal:?}");
    assert!(refusal.text("detail").contains("allow_insecure_tls"), "{refusal:?}");

    registration.url = gateway.url().replace("wss://", "ws://");
    let step = (Look::at(&gateway), "register with ws:// where there is TLS");
    let refusal = refused(&control, &registration, step).await;
    assert_eq!(refusal.what(), (502, "gateway_tls_failed", "tls"), "{refusal:?}");
    assert!(refusal.text("detail").contains("use wss://"), "{refusal:?}");

    let proxy = Proxy::before(&gateway).await;
    let mut registration = Registration::of(&gateway, &proxy);
    registration.token = Some("not-the-password".to_owned());
    let step = (Look::through(&proxy, &gateway), "register with a wrong password");
    let refusal = refused(&control, &registration, step).await;
    assert_eq!(refusal.what(), (502, "gateway_auth_failed", "handshake"), "{refusal:?}");
    let wrong = proxy.connections();
    assert!(wrong <= 2, "one look for the field and one try, not {wrong}");

    let registration = Registration::of(&gateway, &proxy);
    let before = gateway.restarts();
    let look = Look::through(&proxy, &gateway);
    let registered = seen(&control, &registration, (look, "register")).await.expect("it is registered");
    let restarts = gateway.restarts() - before;
    let looks = proxy.connections() - wrong - 1 - restarts;
    assert!(looks <= 1, "{looks} connections more than 1 + {restarts} restarts");
    let held = gateway.held().await;
    assert!(held.agent(&registered.on_gateway()).is_some());
    control.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_2026_6_11_that_lets_in_a_control_ui_is_registered_without_a_device() {
    as_control_ui(Version::V2026_6_11).await;
}

#[tokio::test]
async fn a_2026_2_9_that_lets_in_a_control_ui_is_registered_without_a_device() {
    as_control_ui(Version::V2026_2_9).await;
}

async fn as_control_ui(version: Version) {
    let options = Options { control_ui: true, ..Options::new(version) };
    let mut gateway = Gateway::start(options).await;
    let control = MissionControl::start().await;
    assert_usable(&gateway, &["--control-ui"]).await;
    let devices = gateway.client().await.ok("device.pair.list", json!({})).await;

    let proxy = Proxy::before(&gateway).await;
    let mut registration = Registration::of(&gateway, &proxy);
    registration.disable_device_pairing = true;
    registration.token = Some("not-the-secret".to_owned());
    let step = (Look::through(&proxy, &gateway), "register with a wrong token");
    let refusal = refused(&control, &registration, step).await;
    assert_eq!(refusal.what(), (502, "gateway_auth_failed", "handshake"), "{refusal:?}");
    assert_eq!(proxy.connections(), 1, "a wrong token is sent once");

    registration.token = gateway.secret().map(ToOwned::to_owned);
    let look = Look::through(&proxy, &gateway);
    let registered = seen(&control, &registration, (look, "register")).await.expect("it is registered");
    assert_eq!(proxy.connections(), 2 + gateway.restarts());
    assert!(gateway.held().await.agent(&registered.on_gateway()).is_some());
    assert_eq!(
        gateway.client().await.ok("device.pair.list", json!({})).await.get("paired"),
        devices.get("paired")
    );
    control.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_2026_9_6_tells_that_it_has_no_control_ui_mode_any_more() {
    let options = Options { control_ui: true, ..Options::new(Version::V2026_9_6) };
    let mut gateway = Gateway::start(options).await;
    let control = MissionControl::start().await;
    let before = gateway.held().await;
    let (code, report) = probe(gateway.url(), gateway.secret(), &["--control-ui"]).await;
    assert_eq!((code, &report["failure"]["code"]), (15, &json!("gateway_pairing_required")), "{report:#}");
    let proxy = Proxy::before(&gateway).await;
    let mut registration = Registration::of(&gateway, &proxy);
    registration.disable_device_pairing = true;
    let step = (Look::through(&proxy, &gateway), "register");
    let refusal = refused(&control, &registration, step).await;
    assert_eq!(refusal.what(), (502, "gateway_pairing_required", "handshake"), "{refusal:?}");
    assert!(refusal.text("detail").contains("disable_device_pairing: false"), "{refusal:?}");
    assert_eq!(proxy.connections(), 1);
    let after = gateway.held().await;
    assert_eq!((after.entries(), after.settings()), (before.entries(), before.settings()));
    control.stop().await;
    gateway.stop().await;
}

async fn seen(
    control: &MissionControl,
    registration: &Registration,
    (look, step): (Look<'_>, &'static str),
) -> Result<Registered, Refusal> {
    let result = control.register(registration).await;
    look.registered(step, &result);
    result
}

async fn refused(
    control: &MissionControl,
    registration: &Registration,
    step: (Look<'_>, &'static str),
) -> Refusal {
    seen(control, registration, step).await.expect_err("it is refused")
}
