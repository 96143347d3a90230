//! Every recorded handshake, by file. None is left out without a reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::fake_gateway::{Challenge, ControlUi, FakeGateway, Fault, Options, Version};
use serde_json::{Value, json};

use crate::client::{Seen, dial};
use crate::compare;

/// Not replayed here: end of the path, and why.
const LEFT_OUT: [(&str, &str); 7] = [
    ("/provision.json", "the calls after hello; replayed by provisioning.rs"),
    ("/read-calls.json", "the calls after hello; replayed by reads.rs"),
    (
        "2026.9.6/auth-controlui-xff/",
        "an empty recording: HTTP 403 at the upgrade; asserted in strictness.rs",
    ),
    ("2026.6.11/misc/preauth-flood.json", "an empty recording of a flood of sockets"),
    ("2026.9.6/misc/preauth-flood.json", "an empty recording of a flood of sockets"),
    (
        "2026.2.9/misc/preauth-flood.json",
        "5 sockets in one file; the 2026.2.9 hello is replayed from hello-ok.json",
    ),
    ("2026.2.9/auth-none/", "2026.2.9 does not start without a secret; the fake panics, see strictness.rs"),
];

/// Parts of a hello that tell of what had been done on the recorded gateway
/// before: it had an agent with a session by then, this one has not.
const HISTORY: [(&str, &str); 4] = [
    ("2026.2.9/misc/eager.json", "/payload/snapshot/health/"),
    ("2026.2.9/misc/eager.json", "/payload/agents/0/"),
    ("2026.2.9/misc/eager.json", "/payload/sessions/recent"),
    ("2026.6.11/pairing/scope-upgrade.json", "/payload/snapshot/health/"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/openclaw")
}

fn files(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(relative) = path.strip_prefix(root()) {
            found.insert(relative.to_string_lossy().into_owned());
        }
    }
}

fn load(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(root().join(name)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn options(name: &str, frames: &[Value]) -> Options {
    let version =
        Version::ALL.into_iter().find(|version| name.starts_with(&format!("{}/", version.number())));
    let challenge = frames
        .iter()
        .find_map(|frame| frame.pointer("/frame/payload/nonce").zip(frame.pointer("/frame/payload/ts")));
    let challenge = challenge.map(|(nonce, ts)| Challenge {
        nonce: nonce.as_str().unwrap_or_default().to_owned(),
        ts: ts.as_u64().unwrap_or_default(),
    });
    let mut options = Options {
        token: Some("lab-token-123".to_owned()),
        challenge,
        ..Options::version(version.unwrap_or(Version::V2026_9_6))
    };
    if name.contains("/auth-controlui") {
        options.control_ui = ControlUi::DeviceAuthDisabled;
    }
    if name.contains("/auth-controlui-strict/") {
        options.control_ui = ControlUi::InsecureAuth;
    }
    if name.contains("/auth-none/") {
        options.token = None;
    }
    if name.contains("/auth-password/") {
        options.password = Some("lab-password-123".to_owned());
    }
    options.trusted_proxy = name.contains("/pairing/");
    options.auto_approve_local = !name.contains("/auth-nolocal/");
    if name.contains("/pairing/") && !name.ends_with("/unpaired.json") {
        let device = frames.iter().find_map(|frame| frame.pointer("/frame/params/device/id")?.as_str());
        options.paired_devices = device.map(str::to_owned).into_iter().collect();
    }
    if name.ends_with("/rate-limited.json") {
        options.faults = vec![Fault::LockedOut];
    }
    if name.ends_with("/silent.json") {
        options.handshake_timeout = Duration::from_millis(50);
    }
    options
}

/// Recordings do not hold the headers of the upgrade; their names tell.
fn headers(name: &str, port: u16) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if name.contains("-xff/") || name.contains("/pairing/") {
        headers.push(("x-forwarded-for", "203.0.113.9".to_owned()));
    }
    let own = format!("http://127.0.0.1:{port}");
    if name.ends_with("_localOrigin.json") {
        headers.push(("origin", "http://localhost:3000".to_owned()));
    } else if name.ends_with("_badOrigin.json") {
        headers.push(("origin", "http://evil.example".to_owned()));
    } else if !name.ends_with("_noOrigin.json")
        && (name.contains("/ui") || name.ends_with("/originBackend.json"))
    {
        headers.push(("origin", own));
    }
    headers
}

fn is_history(name: &str, difference: &str) -> bool {
    HISTORY.iter().any(|(file, at)| name == *file && difference.starts_with(at))
}

/// Differences between the recording and what the fake says now.
async fn replay(name: &str, frames: &[Value]) -> Vec<String> {
    let gateway = FakeGateway::start(options(name, frames)).await;
    let mut client = match dial(&gateway, &headers(name, gateway.port())).await {
        Ok(client) => client,
        Err(error) => return vec![format!("no upgrade: {error}")],
    };
    let mut found = Vec::new();
    for line in frames {
        let frame = line.get("frame").cloned().unwrap_or_default();
        match line.get("dir").and_then(Value::as_str) {
            Some(">") => client.send(&frame).await,
            Some("x") => {
                let seen = client.next().await;
                let code = frame.get("close").and_then(Value::as_u64).unwrap_or_default();
                if !closes_alike(&seen, code, &frame) {
                    found.push(format!("close: expected {frame}, got {seen:?}"));
                }
            }
            _ => match client.next().await {
                Seen::Frame(actual) => found.extend(compare::frames(&frame, &actual)),
                seen @ (Seen::Closed(..) | Seen::Dropped) => {
                    found.push(format!("expected a frame, got {seen:?}"));
                }
            },
        }
    }
    found
}

fn closes_alike(seen: &Seen, code: u64, frame: &Value) -> bool {
    let Seen::Closed(actual, reason) = seen else { return false };
    let expected = frame.get("reason").and_then(Value::as_str).unwrap_or_default();
    // The request id in a pairing reason is another one each time.
    let cut = |text: &str| text.split(" (requestId").next().unwrap_or_default().to_owned();
    u64::from(*actual) == code && cut(reason) == cut(expected)
}

#[tokio::test]
async fn every_recorded_handshake_gets_the_recorded_answer() {
    let mut names = BTreeSet::new();
    files(&root(), &mut names);
    assert!(names.len() > 100, "the recordings are in tests/samples/openclaw");
    let mut differences = Vec::new();
    let mut replayed = 0;
    for name in names {
        if LEFT_OUT.iter().any(|(part, _)| name.contains(part) || format!("/{name}").ends_with(part)) {
            continue;
        }
        let frames = load(&name);
        assert!(!frames.is_empty(), "{name} has nothing to replay and no reason in LEFT_OUT");
        replayed += 1;
        differences.extend(
            replay(&name, &frames)
                .await
                .into_iter()
                .filter(|difference| !is_history(&name, difference))
                .map(|difference| format!("{name} {difference}")),
        );
    }
    assert!(replayed > 100, "only {replayed} recordings were replayed");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn a_changed_recording_does_not_pass() {
    let name = "2026.6.11/auth-token/wrongToken.json";
    let frames = load(name);
    assert!(replay(name, &frames).await.is_empty());
    for (at, wrong) in [
        ("/2/frame/error/message", json!("unauthorized")),
        ("/2/frame/error/details/code", json!("AUTH_TOKEN_MISSING")),
        ("/3/frame/close", json!(1002)),
        ("/1/frame/params/auth/token", json!("lab-token-123")),
    ] {
        let mut changed = json!(frames);
        *changed.pointer_mut(at).unwrap() = wrong;
        assert!(!replay(name, changed.as_array().unwrap()).await.is_empty(), "{at}");
    }
}
