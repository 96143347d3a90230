//! What a gateway holds at one moment, as the gateway itself tells it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Client, Refused};

/// Every file that any version lets an agent have.
const FILES: [&str; 8] = [
    "AGENTS.md",
    "SOUL.md",
    "TOOLS.md",
    "IDENTITY.md",
    "USER.md",
    "HEARTBEAT.md",
    "BOOTSTRAP.md",
    "MEMORY.md",
];

/// The agents, files, settings, sessions and jobs of a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    agents: Value,
    config: Value,
    sessions: Value,
    cron: Value,
    heartbeats: Value,
    files: BTreeMap<String, BTreeMap<String, String>>,
}

impl Held {
    pub(super) async fn read(client: &mut Client) -> Result<Self, Refused> {
        let agents = client.patient("agents.list", json!({})).await?;
        let config = client.patient("config.get", json!({})).await?;
        let sessions = client.patient("sessions.list", json!({"limit": 500})).await?;
        let cron = client.patient("cron.list", json!({"includeDisabled": true})).await?;
        let status = client.patient("status", json!({})).await?;
        let mut held = Self {
            agents: part(&agents, "/agents"),
            config: part(&config, "/config"),
            sessions: part(&sessions, "/sessions"),
            cron: part(&cron, "/jobs"),
            heartbeats: part(&status, "/heartbeat/agents"),
            files: BTreeMap::new(),
        };
        for agent in held.agent_ids() {
            let files = files(client, &agent).await?;
            held.files.insert(agent, files);
        }
        Ok(held)
    }

    /// The ids of `agents.list`.
    #[must_use]
    pub fn agent_ids(&self) -> Vec<String> {
        rows(&self.agents).iter().map(|agent| text(agent, "id")).collect()
    }

    /// The row of `agents.list`.
    #[must_use]
    pub fn agent(&self, agent_id: &str) -> Option<&Value> {
        rows(&self.agents).iter().find(|agent| text(agent, "id") == agent_id)
    }

    /// The agents' own entries in the configuration, by id, whichever form it has; without the ids in them.
    #[must_use]
    pub fn entries(&self) -> Map<String, Value> {
        let entries = self.config.pointer("/agents/entries").and_then(Value::as_object).cloned();
        entries.unwrap_or_else(|| {
            let list = self.config.pointer("/agents/list").map(rows).unwrap_or_default();
            let entry = |entry: &Value| {
                let mut fields = entry.as_object().cloned().unwrap_or_default();
                fields.remove("id");
                (text(entry, "id"), Value::Object(fields))
            };
            list.iter().map(entry).collect()
        })
    }

    /// The configuration without the agents' entries, and without `meta`, in which a gateway notes its own writes.
    #[must_use]
    pub fn settings(&self) -> Value {
        let mut config = self.config.clone();
        if let Value::Object(config) = &mut config {
            config.remove("meta");
            if let Some(Value::Object(agents)) = config.get_mut("agents") {
                agents.remove("entries");
                agents.remove("list");
            }
        }
        config
    }

    /// Whether the configuration holds agents as `agents.entries`.
    #[must_use]
    pub fn has_entries(&self) -> bool {
        self.config.pointer("/agents/entries").is_some()
    }

    /// How often the agent really wakes by itself, as `status` tells it: `45m`, or `disabled`.
    #[must_use]
    pub fn heartbeat(&self, agent_id: &str) -> Option<String> {
        let all = rows(&self.heartbeats);
        all.iter().find(|agent| text(agent, "agentId") == agent_id).map(|agent| text(agent, "every"))
    }

    /// The content of a file that the agent has.
    #[must_use]
    pub fn file(&self, agent_id: &str, name: &str) -> Option<&str> {
        self.files.get(agent_id)?.get(name).map(String::as_str)
    }

    /// All files of the agent, by name.
    #[must_use]
    pub fn files(&self, agent_id: &str) -> BTreeMap<String, String> {
        self.files.get(agent_id).cloned().unwrap_or_default()
    }

    /// The sessions of the agent.
    #[must_use]
    pub fn sessions(&self, agent_id: &str) -> Vec<&Value> {
        let prefix = format!("agent:{agent_id}:");
        rows(&self.sessions).iter().filter(|session| text(session, "key").starts_with(&prefix)).collect()
    }

    /// The label of the agent's main session.
    #[must_use]
    pub fn label(&self, agent_id: &str) -> Option<String> {
        let key = format!("agent:{agent_id}:main");
        let all = rows(&self.sessions);
        all.iter().find(|session| text(session, "key") == key).map(|session| text(session, "label"))
    }

    /// The cron jobs that belong to the agent or name it.
    #[must_use]
    pub fn cron_jobs(&self, agent_id: &str) -> Vec<&Value> {
        rows(&self.cron).iter().filter(|job| job.to_string().contains(agent_id)).collect()
    }
}

async fn files(client: &mut Client, agent: &str) -> Result<BTreeMap<String, String>, Refused> {
    let mut files = BTreeMap::new();
    for name in FILES {
        match client.request("agents.files.get", json!({"agentId": agent, "name": name})).await {
            Ok(answer) => {
                let content = answer.pointer("/file/content").and_then(Value::as_str);
                files.extend(content.map(|content| (name.to_owned(), content.to_owned())));
            }
            // Newer gateways refuse some of the names.
            Err(Refused::Said(_)) => {}
            Err(gone) => return Err(gone),
        }
    }
    Ok(files)
}

fn part(answer: &Value, pointer: &str) -> Value {
    answer.pointer(pointer).cloned().unwrap_or_else(|| panic!("no {pointer} in {answer}"))
}

fn rows(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
