//! Registering gateways of every version: what they hold afterwards, and what they are asked.

use harness::{
    fake_gateway::{Agent, FakeGateway, Options, Version},
    world::body,
};
use serde_json::{Value, json};

use crate::homes;

const VERSIONS: [Version; 4] =
    [Version::V2026_2_9, Version::V2026_3_13, Version::V2026_6_11, Version::V2026_9_6];

fn ours(gateway: &FakeGateway) -> Vec<Agent> {
    gateway.agents().into_iter().filter(|agent| agent.id.starts_with("agent-")).collect()
}

#[tokio::test]
async fn a_gateway_of_every_version_is_provisioned_over_one_connection() {
    for version in VERSIONS {
        for (name, home) in homes().await {
            let gateway = FakeGateway::start(Options::version(version)).await;
            let main_before = gateway.effective_heartbeat("main");
            let created = home.world.post(&body(&gateway)).await;
            assert_eq!(created.status, 200, "{name} {version:?}: {}", created.text);
            assert_eq!(
                gateway.dials(),
                1 + gateway.connections_cut() + gateway.upgrades_refused(),
                "{name} {version:?}"
            );
            let [agent] = &ours(&gateway)[..] else { panic!("{name} {version:?}: one agent") };
            let id = created.json["gateway_agent_id"].as_str().unwrap();
            assert!(agent.id.eq_ignore_ascii_case(id), "{name} {version:?}: {} is not {id}", agent.id);
            let workspace = format!("/home/ubuntu/.openclaw/workspaces/{}", id.to_lowercase());
            assert_eq!(agent.workspace.as_deref(), Some(workspace.as_str()), "{name} {version:?}");
            let key = format!("agent:{}:main", agent.id);
            let label = gateway.session_label(&key).unwrap_or_default();
            assert_eq!(label, format!("Production Gateway ({id})"), "{name} {version:?}");
            assert_eq!(gateway.effective_heartbeat(&agent.id).as_deref(), Some("30m"), "{name} {version:?}");
            assert_eq!(gateway.effective_heartbeat("main"), main_before, "{name} {version:?}");
            let woken: Vec<(String, String)> = gateway.messages();
            assert_eq!(
                woken.iter().map(|(session, _)| session).collect::<Vec<_>>(),
                [&key],
                "{name} {version:?}"
            );
            home.world.audit().await;
        }
    }
}

#[tokio::test]
async fn the_agents_credentials_stand_where_the_gateway_takes_them() {
    for version in VERSIONS {
        for (name, home) in homes().await {
            let gateway = FakeGateway::start(Options::version(version)).await;
            let created = home.world.post(&body(&gateway)).await;
            let [agent] = &ours(&gateway)[..] else { panic!("{name} {version:?}: one agent") };
            let file = if agent.files.contains_key("TOOLS.md") { "TOOLS.md" } else { "AGENTS.md" };
            assert_eq!(file == "AGENTS.md", version == Version::V2026_9_6, "{name} {version:?}");
            let lines: Vec<&str> = agent.files[file].lines().collect();
            let id = created.json["gateway_agent_id"].as_str().unwrap();
            assert!(lines.contains(&format!("AGENT_ID={id}").as_str()), "{name} {version:?}");
            assert!(
                lines.contains(&format!("BASE_URL=http://{}", home.world.address).as_str()),
                "{name} {version:?}"
            );
            let tokens: Vec<&&str> =
                lines.iter().filter(|line| line.starts_with("AUTH_TOKEN=mca_")).collect();
            assert_eq!(tokens.len(), 1, "{name} {version:?}");
            assert_eq!(tokens[0].len(), "AUTH_TOKEN=mca_".len() + 36, "{name} {version:?}");
        }
    }
}

#[tokio::test]
async fn one_url_can_be_registered_twice_and_the_first_stays_as_it_was() {
    for version in VERSIONS {
        for (name, home) in homes().await {
            let gateway = FakeGateway::start(Options::version(version)).await;
            let first = home.world.post(&body(&gateway)).await;
            let before = ours(&gateway);
            let second = home.world.post(&body(&gateway)).await;
            assert_eq!((first.status, second.status), (200, 200), "{name} {version:?}: {}", second.text);
            assert_ne!(first.json["id"], second.json["id"]);
            let after = ours(&gateway);
            assert_eq!(after.len(), 2, "{name} {version:?}");
            assert!(after.contains(&before[0]), "{name} {version:?}: the first agent was changed");
            home.world.audit().await;
        }
    }
}

/// Everything in `before` stands in `after`; lists of agents are compared by their ids.
fn assert_kept(before: &Value, after: &Value, place: &str) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before.iter().filter(|(key, _)| *key != "meta") {
                assert_kept(value, after.get(key).unwrap_or(&Value::Null), &format!("{place}/{key}"));
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for (entry, kept) in before.iter().zip(after) {
                assert_kept(entry, kept, &format!("{place}/{}", entry["id"]));
            }
        }
        _ => assert_eq!(before, after, "{place}"),
    }
}

#[tokio::test]
async fn other_settings_of_the_gateway_stay_as_they_are() {
    for version in VERSIONS {
        for (name, home) in homes().await {
            let others = if version == Version::V2026_9_6 {
                json!({"agents": {"entries": {"main": {}, "boss": {"default": true, "heartbeat": {"every": "7m"}}}}})
            } else {
                json!({"agents": {"list": [{"id": "main"}, {"id": "boss", "default": true, "heartbeat": {"every": "7m"}}]}})
            };
            let gateway =
                FakeGateway::start(Options { initial_config: others, ..Options::version(version) }).await;
            let before = gateway.config();
            let created = home.world.post(&body(&gateway)).await;
            assert_eq!(created.status, 200, "{name} {version:?}: {}", created.text);
            // Gateways add settings of their own when an agent is created; what was there stays.
            assert_kept(&before, &gateway.config(), &format!("{name} {version:?}"));
            assert_eq!(gateway.effective_heartbeat("boss").as_deref(), Some("7m"), "{name} {version:?}");
            assert_eq!(gateway.effective_heartbeat("main"), None, "{name} {version:?}");
        }
    }
}
