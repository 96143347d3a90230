//! The recorded read calls, against a gateway that nobody has written to.

use harness::fake_gateway::{FakeGateway, Options, Version};
use serde_json::{Value, json};

use crate::client::{Seen, connected};
use crate::compare;

/// Differences that stay: the recorded 2026.2.9 had been used before.
fn is_accepted(version: Version, method: &str) -> bool {
    version == Version::V2026_2_9 && matches!(method, "device.pair.list" | "config.get")
}

#[tokio::test]
async fn every_recorded_read_gets_the_recorded_answer() {
    let mut found = Vec::new();
    for (version, recording) in [
        (Version::V2026_2_9, include_str!("../samples/openclaw/2026.2.9/read-calls.json")),
        (Version::V2026_6_11, include_str!("../samples/openclaw/2026.6.11/read-calls.json")),
        (Version::V2026_9_6, include_str!("../samples/openclaw/2026.9.6/read-calls.json")),
    ] {
        let mut initial = json!({ "agents": { "defaults": { "heartbeat": { "every": "0m" } } } });
        if version == Version::V2026_9_6 {
            initial["models"] = json!({ "catalogRefresh": { "enabled": false } });
        }
        let gateway =
            FakeGateway::start(Options { initial_config: initial, ..Options::version(version) }).await;
        let mut client = connected(&gateway).await;
        let calls: Value = serde_json::from_str(recording).unwrap();
        for (method, expected) in calls.as_object().unwrap() {
            let mut expected = expected.clone();
            expected.as_object_mut().unwrap().shift_remove("ms");
            let Seen::Frame(actual) = client.call(method, json!({})).await else {
                unreachable!("{method} got no answer")
            };
            if !is_accepted(version, method) {
                found.extend(
                    compare::frames(&expected, &actual)
                        .into_iter()
                        .map(|one| format!("{version:?} {method} {one}")),
                );
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
