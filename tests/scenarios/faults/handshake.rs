//! Challenge, connect, hello: who is let in, and what is told to those who are not.

use std::time::Duration;

use harness::fake_gateway::{ControlUi, Fault, Options, Version};
use serde_json::json;

use super::{
    case::{Case, UNREACHABLE},
    run::{quick, run},
};

const NEVER: usize = usize::MAX;
const CONTROL_UI: [&str; 4] = [
    "openclaw.json",
    "\"dangerouslyDisableDeviceAuth\": true",
    "openclaw gateway start",
    "`disable_device_pairing: false`",
];

fn old(options: Options) -> Options {
    Options { version: Version::V2026_2_9, ..options }
}

fn ui(name: &str, options: Options) -> Case {
    Case::gateway(name, options).body(json!({"disable_device_pairing": true}))
}

#[tokio::test]
async fn a_rejected_credential_is_tried_once() {
    let auth = |case: Case| case.fails("gateway_auth_failed", "handshake", &["`token`"]).rejected(1);
    let wrong = |options| Case::gateway("a wrong token", options).body(json!({"token": "not-the-token"}));
    let password =
        || Options { token: None, password: Some("gateway-token".to_owned()), ..Options::default() };
    let locked_out = || {
        let says = ["retryAfterMs 299988", "300 s", "even the right one"];
        Case::fault("locked out", Fault::LockedOut)
            .fails("gateway_auth_failed", "handshake", &says)
            .rejected(1)
    };
    let cases = vec![
        auth(wrong(Options::default())),
        auth(wrong(Options::default())).in_background(1),
        auth(wrong(old(Options::default()))),
        auth(wrong(password())),
        auth(Case::gateway("no token", Options::default()).body(json!({"token": null}))),
        auth(Case::gateway("no token, 2.9", old(Options::default())).body(json!({"token": null}))),
        Case::gateway("a right password", password()),
        // A token was sent first: nothing was rejected but a password was missing. Each write restarts it.
        Case::gateway("a right password, 2.9", old(password())).dials(2..=9).rejected(1),
        locked_out(),
        locked_out().in_background(1),
    ];
    run(quick(), cases).await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told_what_to_change_on_the_gateway() {
    let pairing = |approved_after| Fault::PairingRequired { request_id: "req-1".to_owned(), approved_after };
    let control_ui = |case: Case| case.fails("gateway_pairing_required", "handshake", &CONTROL_UI);
    let open = Options { control_ui: ControlUi::DeviceAuthDisabled, ..Options::version(Version::V2026_6_11) };
    let cases = vec![
        Case::fault("pairing required", pairing(None)).fails(
            "gateway_pairing_required",
            "handshake",
            &["openclaw devices approve req-1"],
        ),
        Case::fault("approved meanwhile", pairing(Some(1)))
            .dials(2..=2)
            .in_background(1)
            .within(Duration::from_secs(7)),
        ui("control_ui", open),
        control_ui(ui("control_ui is off", Options::version(Version::V2026_6_11))),
        control_ui(ui("control_ui is off, 2.9", Options::version(Version::V2026_2_9))),
        control_ui(ui("control_ui is retired", Options::default())),
        control_ui(ui("control_ui is retired", Options::default())).in_background(1),
        Case::fault("a missing scope", Fault::MissingScope).fails(
            "gateway_scope_missing",
            "handshake",
            &["operator.read", "dangerouslyDisableDeviceAuth: true", "restart"],
        ),
        Case::fault("the origin is refused", Fault::OriginRefused).fails(
            "gateway_origin_rejected",
            "handshake",
            &["gateway.controlUi.allowedOrigins"],
        ),
    ];
    run(quick(), cases).await;
}

#[tokio::test]
async fn what_speaks_another_protocol_is_told_at_once() {
    let strange = |case: Case, says: &[&'static str]| {
        let says = [says, &["openclaw --version"]].concat();
        case.fails("gateway_protocol_error", "handshake", &says).within(Duration::from_secs(1))
    };
    let cases = vec![
        Case::fault("protocol 3 only", Fault::ProtocolOnly(3)),
        Case::fault("protocol 4 only", Fault::ProtocolOnly(4)),
        strange(Case::fault("protocol 5 only", Fault::ProtocolOnly(5)), &["protocols 3 and 4"]),
        strange(Case::fault("not JSON", Fault::NotJson), &["not JSON"]),
        strange(Case::fault("not JSON", Fault::NotJson), &["not JSON"]).in_background(1),
        Case::fault("mute before the challenge", Fault::MuteAfterUpgrade)
            .fails("gateway_timeout", "handshake", &UNREACHABLE)
            .within(Duration::from_secs(3)),
    ];
    run(quick(), cases).await;
}

#[tokio::test]
async fn a_gateway_that_starts_is_waited_for_as_long_as_the_patience_lasts() {
    let starting = |name: &str, times, retry_after_ms| {
        Case::fault(name, Fault::UnavailableWhileStarting { times, retry_after_ms })
    };
    let told =
        |case: Case| case.fails("gateway_unreachable", "handshake", &["starting", "ps aux | grep openclaw"]);
    let closed = |code, times| {
        Case::fault(format!("closed before hello with {code}"), Fault::CloseBeforeHello { code, times })
    };
    let cases = vec![
        starting("starting, then there", 3, 200).dials(4..=4),
        starting("starting, then there", 3, 200).dials(4..=4).in_background(1),
        told(starting("starting for ever", NEVER, 300)).dials(2..=11),
        // At most one every 50 ms in 3 s, whatever it asks for.
        told(starting("asks for no pause", NEVER, 0)).dials(2..=62),
        told(starting("asks for a long pause", NEVER, 600_000)).within(Duration::from_secs(1)),
        told(starting("asks for a long pause", NEVER, 600_000))
            .within(Duration::from_secs(1))
            .in_background(1),
        closed(1000, 2).dials(3..=3),
        closed(1008, 2).dials(3..=3),
        closed(1000, NEVER).dials(2..=11).fails("gateway_unreachable", "handshake", &UNREACHABLE),
    ];
    run(quick(), cases).await;
}
