//! What one gateway holds: configuration, files, sessions, jobs, counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use shared::clock::{Clock as _, SystemClock};

use super::Options;
use super::fault::Faults;

/// An agent as a gateway holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Id, as `agents.create` answered it.
    pub id: String,
    /// Name, if its entry has one.
    pub name: Option<String>,
    /// Workspace on the gateway's host, if its entry has one.
    pub workspace: Option<String>,
    /// The `heartbeat` of its own entry.
    pub heartbeat: Option<Value>,
    /// Files of its workspace by name.
    pub files: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) label: Option<String>,
    pub(crate) created_at: u64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) config: Value,
    pub(crate) version: &'static str,
    pub(crate) has_entries: bool,
    pub(crate) files: HashMap<String, BTreeMap<String, String>>,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) messages: Vec<(String, String)>,
    /// Runs by idempotency key: how often asked for.
    pub(crate) runs: HashMap<String, usize>,
    pub(crate) cron: Vec<Value>,
    pub(crate) faults: Faults,
    pub(crate) calls: Vec<(String, Value)>,
    pub(crate) dials: usize,
    pub(crate) connects: usize,
    pub(crate) restarts: usize,
    pub(crate) connections_cut: usize,
    pub(crate) upgrades_refused: usize,
    pub(crate) upgrades: Vec<(String, Instant)>,
    pub(crate) rejected_tokens: usize,
    pub(crate) patches: Vec<Instant>,
    pub(crate) patch_window: Duration,
    pub(crate) patches_refused: usize,
    pub(crate) open: usize,
    pub(crate) open_most: usize,
    pub(crate) just_created: BTreeSet<String>,
    pub(crate) paired: BTreeSet<String>,
    pub(crate) device_tokens: HashMap<String, String>,
    pub(crate) pairing_requests: HashMap<String, String>,
}

impl State {
    pub(crate) fn new(options: &Options, port: u16) -> Self {
        let mut config = base_config(options, port);
        merge(&mut config, &options.initial_config);
        let mut state = Self {
            config,
            version: options.version.number(),
            has_entries: options.version.has_entries(),
            patch_window: options.patch_window,
            paired: options.paired_devices.iter().cloned().collect(),
            ..Self::default()
        };
        if options.config_meta {
            state.touch();
        }
        state
    }

    pub(crate) fn agents(&self) -> Vec<Agent> {
        let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        entries(&self.config)
            .into_iter()
            .map(|(id, entry)| Agent {
                name: text(entry, "name"),
                workspace: text(entry, "workspace"),
                heartbeat: entry.get("heartbeat").cloned(),
                files: self.files.get(&id).cloned().unwrap_or_default(),
                id,
            })
            .collect()
    }

    pub(crate) fn has_agent(&self, id: &str) -> bool {
        id == "main" || entries(&self.config).iter().any(|(other, _)| other == id)
    }

    pub(crate) fn entry(&mut self, id: &str) -> Option<&mut Map<String, Value>> {
        let agents = self.config.get_mut("agents")?;
        if self.has_entries {
            return agents.get_mut("entries")?.get_mut(id)?.as_object_mut();
        }
        let list = agents.get_mut("list")?.as_array_mut()?;
        list.iter_mut().find(|entry| entry.get("id").and_then(Value::as_str) == Some(id))?.as_object_mut()
    }

    /// Notes the writer in `meta`, as every write of a real one does.
    pub(crate) fn touch(&mut self) {
        let mut meta = json!({ "lastTouchedVersion": self.version });
        if self.has_entries {
            merge(
                &mut meta,
                &json!({ "migrations": { "modelPolicyAllowlist": true, "utilityModelSeparation": true } }),
            );
        } else {
            merge(
                &mut meta,
                &json!({ "lastTouchedAt": now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true) }),
            );
        }
        merge(&mut self.config, &json!({ "meta": meta }));
    }

    pub(crate) fn hash(&self) -> String {
        let digest = Sha256::digest(self.config.to_string());
        if self.has_entries {
            format!("hmac-sha256:v1:{}", BASE64_URL_SAFE_NO_PAD.encode(digest))
        } else {
            hex::encode(digest)
        }
    }
}

/// The agents of a configuration in either form.
pub(crate) fn entries(config: &Value) -> Vec<(String, &Value)> {
    let Some(agents) = config.get("agents") else { return Vec::new() };
    if let Some(map) = agents.get("entries").and_then(Value::as_object) {
        return map.iter().map(|(id, entry)| (id.clone(), entry)).collect();
    }
    let list = agents.get("list").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|entry| Some((entry.get("id")?.as_str()?.to_owned(), entry))).collect()
}

/// Merges member by member; arrays and scalars replace, null changes nothing.
pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn base_config(options: &Options, port: u16) -> Value {
    let auth = match (&options.token, &options.password) {
        (_, Some(password)) => json!({ "mode": "password", "password": password }),
        (Some(token), None) => json!({ "mode": "token", "token": token }),
        (None, None) => json!({ "mode": "none" }),
    };
    json!({
        "gateway": { "mode": "local", "bind": "loopback", "port": port, "auth": auth },
        "agents": { "defaults": { "workspace": "/srv/openclaw/ws/main" } },
        "update": { "checkOnStart": false },
        "discovery": { "mdns": { "mode": "off" } },
        "browser": { "enabled": false },
        "cron": { "enabled": false },
    })
}

/// The gateway's clock.
pub(crate) fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    now().timestamp_millis().try_into().unwrap_or_default()
}
