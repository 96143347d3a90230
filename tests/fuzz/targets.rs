//! What strangers send us, into the functions that read it: none of them may panic. The fuzzer of this folder calls these
//! functions, and so do the property tests in `tests/properties`.

use std::time::{Duration, Instant};

use api::{
    body::Object,
    gateways::fields::{self, Reader},
};
use serde_json::Value;
use shared::{
    domain::gateway::{failure::Stage, url::GatewayUrl, version::Version},
    secret::Secret,
};
use worker::{
    agent::config_patch::{beating, decide, heartbeat, is_explicit, rejected_keys},
    gateway::{
        frame::{ErrorBody, Incoming, parse},
        handshake::{Mode, hello},
        policy::AddressPolicy,
        refusal::{Us, of_call, of_connect},
        restart::Restarts,
    },
};

const TOKEN: &str = "a-gateway-token-that-nobody-guesses";
const AGENT: &str = "agent-01arz3ndektsv4rrffq69g5fav";

/// A function that reads what was sent.
pub(crate) type Target = fn(&[u8]);

/// All of them, by the name of the fuzzer's program.
pub(crate) const ALL: [(&str, Target); 6] = [
    ("frame", frame),
    ("hello", hello_document),
    ("config", config_document),
    ("url", url),
    ("version", version),
    ("body", body),
];

/// A frame of a gateway, and what a refusal in it means.
pub(crate) fn frame(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text) {
        Ok(Incoming::Answer { result: Ok(payload), .. } | Incoming::Event { payload, .. }) => {
            announced(&payload);
        }
        Ok(Incoming::Answer { result: Err(error), .. }) => refusal(&error),
        Ok(Incoming::Unknown) | Err(_) => {}
    }
}

fn refusal(error: &ErrorBody) {
    let secrets = [Secret::from(TOKEN)];
    for mode in [Mode::Device, Mode::ControlUi] {
        let us = Us { mode, device_id: "device", secrets: &secrets };
        is_fit(&of_connect(error, &error.message, us).failure.detail);
    }
    is_fit(&of_call(Stage::Files, "agents.files.set", error, &secrets).failure.detail);
    let _ = rejected_keys(&error.message, &error.details);
}

/// What a person is told holds no secret and no control character, and has an end.
fn is_fit(detail: &str) {
    assert!(!detail.contains(TOKEN), "{detail:?}");
    assert!(!detail.contains(char::is_control), "{detail:?}");
    assert!(detail.chars().count() < 1_500, "{detail:?}");
}

fn announced(payload: &Value) {
    let (mut restarts, now) = (Restarts::default(), Instant::now());
    restarts.answer(payload, now);
    restarts.dropped(now);
    // Nobody waits longer for a restart than a gateway may announce, and 2 s more.
    assert!(restarts.open_until().is_none_or(|until| until <= now + Duration::from_secs(62)));
}

/// A gateway's hello.
pub(crate) fn hello_document(bytes: &[u8]) {
    let Ok(payload) = serde_json::from_slice::<Value>(bytes) else { return };
    if let Some(hello) = hello(&payload, Duration::ZERO) {
        assert!(hello.device_token.is_none_or(|token| token.expose().len() <= 4_096));
        let _ = hello.server_version.map(|version| version.parse::<Version>());
    }
}

/// A gateway's configuration, and its answer to `status`.
pub(crate) fn config_document(bytes: &[u8]) {
    let Ok(config) = serde_json::from_slice::<Value>(bytes) else { return };
    let wanted = heartbeat(Duration::from_secs(90), "Check in.");
    let beating = beating(&config);
    let step = decide(&config, AGENT, &wanted, beating.as_deref());
    assert_eq!(step, decide(&config, AGENT, &wanted, beating.as_deref()), "it is decided anew");
    let _ = (is_explicit(&config), decide(&config, AGENT, &wanted, None));
}

/// The URL of a gateway.
pub(crate) fn url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(url) = text.parse::<GatewayUrl>() else { return };
    let again = url.to_string().parse::<GatewayUrl>();
    assert!(again.is_ok_and(|again| again == url), "{text:?} is shown as another URL");
    assert!(url.port() > 0 && !url.key().is_empty() && !url.host_text().is_empty(), "{text:?}");
    assert!(!url.authority().contains(['@', '#', '/']), "{text:?}");
    let _ = AddressPolicy::default().check_host(&url.host());
}

/// A version.
pub(crate) fn version(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(version) = text.parse::<Version>() else { return };
    let shown = version.to_string();
    assert!(shown.parse::<Version>().is_ok_and(|again| again == version), "{text:?} is shown as {shown:?}");
}

/// The body of a registration, and of a change.
pub(crate) fn body(bytes: &[u8]) {
    let Ok(object) = Object::parse(bytes) else { return };
    let mut reader = Reader::new(&object);
    let _ = reader.required("name", fields::name);
    let _ = reader.required("url", fields::url);
    let _ = reader.required("workspace_root", fields::workspace_root);
    let _ = reader.optional("token", fields::token);
    let _ = (reader.switch("allow_insecure_tls"), reader.switch("disable_device_pairing"));
    let _ = reader.into_faults();
    let mut reader = Reader::new(&object);
    let _ = (reader.kept("name", fields::name), reader.kept("url", fields::url));
    let _ = (reader.kept_switch("allow_insecure_tls"), reader.is_null("token"));
    let _ = reader.into_faults();
}
