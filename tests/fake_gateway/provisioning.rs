//! The recorded provisioning of an agent, call by call.

use harness::fake_gateway::{FakeGateway, Options, Version};
use serde_json::{Value, json};

use crate::client::{Client, Seen, connected};
use crate::compare;

/// Calls that are not sent again, and why.
const LEFT_OUT: [(&str, &str); 3] = [
    ("sessions.reset", "not modelled: nothing of ours calls it"),
    ("sessions.list", "not modelled beyond the recorded empty answer: nothing of ours calls it"),
    ("chat.history", "not modelled: the fake runs no agent that could say anything"),
];

/// Differences that stay, and why.
fn is_accepted(version: Version, method: &str, difference: &str) -> bool {
    // The recorded gateways had a controlled git checkout or not, by agent.
    let trash = version == Version::V2026_9_6
        && method == "agents.delete"
        && difference.starts_with("/payload/removed/");
    // After the first run sessions know where they were last used; the fake runs nothing.
    let used = method == "sessions.patch" && difference.starts_with("/payload/entry/");
    trash || used
}

fn recording(version: Version) -> Vec<Value> {
    let text = match version {
        Version::V2026_2_9 => include_str!("../samples/openclaw/2026.2.9/provision.json"),
        Version::V2026_3_13 | Version::V2026_6_11 => {
            include_str!("../samples/openclaw/2026.6.11/provision.json")
        }
        Version::V2026_9_6 => include_str!("../samples/openclaw/2026.9.6/provision.json"),
    };
    serde_json::from_str(text).unwrap_or_default()
}

struct Caller<'a> {
    gateway: &'a FakeGateway,
    client: Client,
    /// Restarts before the client connected.
    restarts: usize,
}

impl Caller<'_> {
    /// Makes the call once the restarts of the calls before it are over, so that none of them takes its answer; on a
    /// new connection if there were any.
    async fn call(&mut self, method: &str, params: &Value) -> Value {
        self.gateway.settled().await;
        if self.gateway.restarts() > self.restarts {
            self.restarts = self.gateway.restarts();
            self.client = connected(self.gateway).await;
        }
        match self.client.call(method, params.clone()).await {
            Seen::Frame(frame) => frame,
            seen @ (Seen::Closed(..) | Seen::Dropped) => Value::String(format!("{seen:?}")),
        }
    }
}

async fn differences(version: Version, tamper: impl Fn(&mut Value)) -> Vec<String> {
    let agents = json!({ "defaults": { "heartbeat": { "every": "0m" } } });
    let initial = if version == Version::V2026_9_6 {
        json!({ "agents": agents, "models": { "catalogRefresh": { "enabled": false } } })
    } else {
        json!({ "agents": agents })
    };
    let options =
        Options { initial_config: initial, hurry: 10_000, shuffle: false, ..Options::version(version) };
    let gateway = FakeGateway::start(options).await;
    let mut caller = Caller { gateway: &gateway, client: connected(&gateway).await, restarts: 0 };
    let (mut found, mut hash, mut asked) = (Vec::new(), Value::Null, 0);
    for line in recording(version) {
        let Some(method) = line.get("method").and_then(Value::as_str) else { continue };
        if LEFT_OUT.iter().any(|(left, _)| *left == method) {
            continue;
        }
        let mut params = line.get("params").cloned().unwrap_or_default();
        if let Some(base) = params.get_mut("baseHash") {
            base.clone_from(&hash);
        }
        let mut expected = line.get("res").cloned().unwrap_or_default();
        expected.as_object_mut().map(|frame| frame.shift_remove("ms"));
        tamper(&mut expected);
        let actual = caller.call(method, &params).await;
        if let Some(read) = actual.pointer("/payload/hash").filter(|_| method == "config.get") {
            hash = read.clone();
        }
        asked += 1;
        let differences = compare::frames(&expected, &actual).into_iter();
        let kept = differences.filter(|difference| !is_accepted(version, method, difference));
        found.extend(kept.map(|difference| format!("{version:?} {method} #{asked}: {difference}")));
    }
    assert!(asked > 30, "only {asked} calls were sent");
    found
}

#[tokio::test]
async fn every_recorded_call_gets_the_recorded_answer() {
    let mut found = Vec::new();
    for version in [Version::V2026_2_9, Version::V2026_6_11, Version::V2026_9_6] {
        found.extend(differences(version, |_| {}).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn a_changed_call_recording_does_not_pass() {
    let found = differences(Version::V2026_6_11, |expected| {
        if let Some(message) = expected.pointer_mut("/error/message") {
            *message = json!("another text");
        }
    })
    .await;
    assert!(!found.is_empty());
}
