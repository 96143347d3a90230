//! Which patch gives our own agent its heartbeat and changes nobody else's in effect.
//!
//! Where one agent has a heartbeat entry, only those with an entry have a heartbeat. So when ours is the first, whoever
//! beats gets an empty one, which keeps what it had. Who that is differs between versions, so the gateway is asked. Lists are sent whole and in order: old gateways replace
//! them, and restore redacted secrets by position.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// How a gateway's configuration holds its agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigForm {
    /// `agents.list[]`.
    List,
    /// `agents.entries{}`.
    Entries,
    /// Neither was touched.
    None,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Our entry already says it.
    Equal(ConfigForm),
    /// Send this as `raw`.
    Patch(ConfigForm, Value),
    /// Our agent is not in the configuration; patching it would create a ghost.
    Absent,
}

/// The heartbeat entry that we want.
#[must_use]
pub fn heartbeat(every: Duration, prompt: &str) -> Map<String, Value> {
    let seconds = every.as_secs().max(1);
    let every = if seconds.is_multiple_of(60) { format!("{}m", seconds / 60) } else { format!("{seconds}s") };
    let mut wanted = Map::new();
    wanted.insert("every".to_owned(), json!(every));
    wanted.insert("target".to_owned(), json!("none"));
    wanted.insert("prompt".to_owned(), json!(prompt));
    wanted
}

/// Whether an agent has a heartbeat entry of its own. Until then the gateway's own rule says who beats.
#[must_use]
pub fn is_explicit(config: &Value) -> bool {
    match form(config) {
        Some(Agents::Entries(entries)) => entries.values().any(has_heartbeat),
        Some(Agents::List(list)) => list.iter().any(has_heartbeat),
        None => false,
    }
}

/// The agents whose heartbeat is on, as `status` tells it; `None` where it does not.
#[must_use]
pub fn beating(status: &Value) -> Option<Vec<String>> {
    let agents = status.pointer("/heartbeat/agents").and_then(Value::as_array)?;
    let on = |agent: &&Value| agent.get("enabled") == Some(&Value::Bool(true));
    let ids = agents.iter().filter(on).filter_map(|agent| agent.get("agentId")?.as_str());
    Some(ids.map(ToOwned::to_owned).collect())
}

/// Decides from `config` of `config.get`, and from who is [`beating`] where nobody [`is_explicit`].
#[must_use]
pub fn decide(
    config: &Value,
    agent_id: &str,
    wanted: &Map<String, Value>,
    beating: Option<&[String]>,
) -> Step {
    let keepers = |default: Option<&str>| match beating {
        _ if is_explicit(config) => Vec::new(),
        Some(beating) if !beating.is_empty() => beating.to_vec(),
        // Nobody beats: an empty entry keeps it so only where the cadence itself is off.
        Some(_) if !is_off(config) => Vec::new(),
        Some(_) | None => default.map(ToOwned::to_owned).into_iter().collect(),
    };
    match form(config) {
        Some(Agents::Entries(entries)) => decide_entries(entries, agent_id, wanted, keepers),
        Some(Agents::List(list)) => decide_list(list, agent_id, wanted, keepers),
        None => Step::Absent,
    }
}

/// Whether the cadence that agents inherit is none, for example `0m`.
fn is_off(config: &Value) -> bool {
    let every = config.pointer("/agents/defaults/heartbeat/every").and_then(Value::as_str);
    every.is_some_and(|every| every.contains('0') && !every.contains(|c: char| ('1'..='9').contains(&c)))
}

enum Agents<'a> {
    Entries(&'a Map<String, Value>),
    List(&'a [Value]),
}

fn form(config: &Value) -> Option<Agents<'_>> {
    let agents = config.get("agents")?;
    let entries = agents.get("entries").and_then(Value::as_object).map(Agents::Entries);
    entries.or_else(|| agents.get("list").and_then(Value::as_array).map(|list| Agents::List(list)))
}

fn is_among(ids: &[String], id: &str) -> bool {
    ids.iter().any(|other| other.eq_ignore_ascii_case(id))
}

fn decide_entries(
    entries: &Map<String, Value>,
    agent_id: &str,
    wanted: &Map<String, Value>,
    keepers: impl Fn(Option<&str>) -> Vec<String>,
) -> Step {
    let Some((key, entry)) = entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(agent_id)) else {
        return Step::Absent;
    };
    if has(entry, wanted) {
        return Step::Equal(ConfigForm::Entries);
    }
    let default = entries
        .iter()
        .find(|(_, entry)| is_default(entry))
        .or_else(|| entries.get_key_value("main"))
        .or_else(|| entries.iter().next());
    let keepers = keepers(default.map(|(id, _)| id.as_str()));
    let kept = entries.keys().filter(|other| is_among(&keepers, other));
    let mut patch: Map<String, Value> = kept.map(|other| (other.clone(), json!({"heartbeat": {}}))).collect();
    patch.insert(key.clone(), json!({"heartbeat": wanted}));
    Step::Patch(ConfigForm::Entries, json!({"agents": {"entries": patch}}))
}

fn decide_list(
    list: &[Value],
    agent_id: &str,
    wanted: &Map<String, Value>,
    keepers: impl Fn(Option<&str>) -> Vec<String>,
) -> Step {
    let is_ours = |entry: &Value| id_of(entry).eq_ignore_ascii_case(agent_id);
    let Some(ours) = list.iter().find(|entry| is_ours(entry)) else { return Step::Absent };
    if has(ours, wanted) {
        return Step::Equal(ConfigForm::List);
    }
    let default = list.iter().find(|entry| is_default(entry)).or_else(|| list.first());
    let keepers = keepers(default.map(id_of));
    let patched = list.iter().map(|entry| {
        let mut entry = entry.clone();
        let (is_ours, is_kept) = (is_ours(&entry), is_among(&keepers, id_of(&entry)));
        if let Value::Object(fields) = &mut entry {
            if is_ours {
                let mut merged =
                    fields.get("heartbeat").and_then(Value::as_object).cloned().unwrap_or_default();
                merged.extend(wanted.clone());
                fields.insert("heartbeat".to_owned(), Value::Object(merged));
            } else if is_kept {
                fields.insert("heartbeat".to_owned(), json!({}));
            }
        }
        entry
    });
    Step::Patch(ConfigForm::List, json!({"agents": {"list": patched.collect::<Vec<_>>()}}))
}

fn id_of(entry: &Value) -> &str {
    entry.get("id").and_then(Value::as_str).unwrap_or_default()
}

fn has_heartbeat(entry: &Value) -> bool {
    entry.get("heartbeat").is_some_and(Value::is_object)
}

fn is_default(entry: &Value) -> bool {
    entry.get("default") == Some(&Value::Bool(true))
}

fn has(entry: &Value, wanted: &Map<String, Value>) -> bool {
    let held = entry.get("heartbeat").and_then(Value::as_object);
    held.is_some_and(|held| wanted.iter().all(|(key, value)| held.get(key) == Some(value)))
}

/// The keys that the gateway does not know, from `details.issues` of its refusal or from its message.
#[must_use]
pub fn rejected_keys(message: &str, details: &Value) -> Vec<String> {
    let issues = details.get("issues").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts =
        issues.iter().filter_map(|issue| issue.get("message").and_then(Value::as_str)).chain([message]);
    let mut keys: Vec<String> = texts
        .filter_map(|text| text.split_once("nrecognized key"))
        .flat_map(|(_, keys)| keys.split('"').skip(1).step_by(2))
        .map(ToOwned::to_owned)
        .collect();
    keys.dedup();
    keys
}

#[cfg(test)]
mod in_effect;
#[cfg(test)]
mod tests;
