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

/// The agents whose heartbeat is on, as `status` tells it; empty where it does not.
#[must_use]
pub fn beating(status: &Value) -> Vec<String> {
    let agents = status.pointer("/heartbeat/agents").and_then(Value::as_array).map(Vec::as_slice);
    let on = |agent: &&Value| agent.get("enabled") == Some(&Value::Bool(true));
    let ids = agents.unwrap_or_default().iter().filter(on).filter_map(|agent| agent.get("agentId")?.as_str());
    ids.map(ToOwned::to_owned).collect()
}

/// Decides from `config` of `config.get`, and from who is [`beating`] where nobody [`is_explicit`].
#[must_use]
pub fn decide(config: &Value, agent_id: &str, wanted: &Map<String, Value>, beating: &[String]) -> Step {
    match form(config) {
        Some(Agents::Entries(entries)) => decide_entries(entries, agent_id, wanted, beating),
        Some(Agents::List(list)) => decide_list(list, agent_id, wanted, beating),
        None => Step::Absent,
    }
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

/// Who must keep a heartbeat. If nobody beats, every cadence is off: then the default agent, first in turn when
/// somebody turns them on.
fn keepers(beating: &[String], ours: &str, default: Option<&str>) -> Vec<String> {
    let others: Vec<String> =
        beating.iter().filter(|other| !other.eq_ignore_ascii_case(ours)).cloned().collect();
    let default = || default.filter(|id| !id.eq_ignore_ascii_case(ours)).map(ToOwned::to_owned);
    if others.is_empty() { default().into_iter().collect() } else { others }
}

fn is_among(ids: &[String], id: &str) -> bool {
    ids.iter().any(|other| other.eq_ignore_ascii_case(id))
}

fn decide_entries(
    entries: &Map<String, Value>,
    agent_id: &str,
    wanted: &Map<String, Value>,
    beating: &[String],
) -> Step {
    let Some((key, entry)) = entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(agent_id)) else {
        return Step::Absent;
    };
    if has(entry, wanted) {
        return Step::Equal(ConfigForm::Entries);
    }
    let mut patch = Map::new();
    patch.insert(key.clone(), json!({"heartbeat": wanted}));
    if !entries.values().any(has_heartbeat) {
        let default = entries
            .iter()
            .find(|(_, entry)| is_default(entry))
            .or_else(|| entries.get_key_value("main"))
            .or_else(|| entries.iter().next());
        let keepers = keepers(beating, key, default.map(|(id, _)| id.as_str()));
        for other in entries.keys().filter(|other| is_among(&keepers, other)) {
            patch.insert(other.clone(), json!({"heartbeat": {}}));
        }
    }
    Step::Patch(ConfigForm::Entries, json!({"agents": {"entries": patch}}))
}

fn decide_list(list: &[Value], agent_id: &str, wanted: &Map<String, Value>, beating: &[String]) -> Step {
    let is_ours = |entry: &Value| id_of(entry).eq_ignore_ascii_case(agent_id);
    let Some(ours) = list.iter().find(|entry| is_ours(entry)) else { return Step::Absent };
    if has(ours, wanted) {
        return Step::Equal(ConfigForm::List);
    }
    let keepers = if list.iter().any(has_heartbeat) {
        Vec::new()
    } else {
        let default = list.iter().find(|entry| is_default(entry)).or_else(|| list.first());
        keepers(beating, agent_id, default.map(id_of))
    };
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
mod tests {
    use super::*;

    fn wanted() -> Map<String, Value> {
        heartbeat(Duration::from_mins(30), "check in")
    }

    #[test]
    fn a_list_is_sent_whole_with_the_default_agents_heartbeat_kept() {
        let config = json!({"agents": {"defaults": {}, "list": [
            {"id": "main", "key": "__OPENCLAW_REDACTED__"}, {"id": "other"}, {"id": "agent-x", "workspace": "/w"},
        ]}});
        let Step::Patch(ConfigForm::List, patch) = decide(&config, "Agent-X", &wanted(), &[]) else {
            panic!()
        };
        assert_eq!(
            patch,
            json!({"agents": {"list": [
                {"id": "main", "key": "__OPENCLAW_REDACTED__", "heartbeat": {}},
                {"id": "other"},
                {"id": "agent-x", "workspace": "/w", "heartbeat": {"every": "30m", "target": "none", "prompt": "check in"}},
            ]}})
        );
        assert_eq!(decide(&patch, "agent-x", &wanted(), &[]), Step::Equal(ConfigForm::List));
    }

    #[test]
    fn a_map_is_patched_by_its_keys() {
        let config = json!({"agents": {"entries": {"boss": {"default": true}, "agent-x": {}, "main": {}}}});
        let Step::Patch(ConfigForm::Entries, patch) = decide(&config, "agent-x", &wanted(), &[]) else {
            panic!()
        };
        assert_eq!(
            patch,
            json!({"agents": {"entries": {
                "agent-x": {"heartbeat": {"prompt": "check in", "every": "30m", "target": "none"}},
                "boss": {"heartbeat": {}},
            }}})
        );
    }

    #[test]
    fn where_somebody_has_a_heartbeat_only_ours_is_added() {
        let config = json!({"agents": {"list": [{"id": "main"}, {"id": "o", "heartbeat": {}}, {"id": "x"}]}});
        let Step::Patch(_, patch) = decide(&config, "x", &wanted(), &["main".to_owned()]) else { panic!() };
        assert_eq!(patch.pointer("/agents/list/0"), Some(&json!({"id": "main"})));
        assert_eq!(patch.pointer("/agents/list/1"), Some(&json!({"id": "o", "heartbeat": {}})));
    }

    #[test]
    fn whoever_beats_keeps_it_and_nobody_else_begins() {
        let status = json!({"heartbeat": {"agents": [
            {"agentId": "main", "enabled": true}, {"agentId": "quiet", "enabled": false},
            {"agentId": "other", "enabled": true}, {"agentId": "x", "enabled": true}, {"enabled": true}, 1,
        ]}});
        let beating = beating(&status);
        assert_eq!(beating, ["main", "other", "x"]);
        let config =
            json!({"agents": {"list": [{"id": "main"}, {"id": "quiet"}, {"id": "other"}, {"id": "x"}]}});
        let Step::Patch(_, list) = decide(&config, "x", &wanted(), &beating) else { panic!() };
        let config = json!({"agents": {"entries": {"main": {}, "quiet": {}, "other": {}, "x": {}}}});
        let Step::Patch(_, entries) = decide(&config, "x", &wanted(), &beating) else { panic!() };
        for kept in ["/agents/list/0/heartbeat", "/agents/list/2/heartbeat"] {
            assert_eq!(list.pointer(kept), Some(&json!({})), "{list}");
        }
        assert_eq!(list.pointer("/agents/list/1"), Some(&json!({"id": "quiet"})));
        for kept in ["main", "other"] {
            assert_eq!(entries["agents"]["entries"][kept], json!({"heartbeat": {}}), "{entries}");
        }
        assert_eq!(entries["agents"]["entries"].get("quiet"), None);
        assert!(!is_explicit(&config) && is_explicit(&list) && is_explicit(&entries));
        assert!(super::beating(&json!({"heartbeat": 1})).is_empty());
    }

    #[test]
    fn an_absent_agent_is_never_patched() {
        for config in [
            json!({}),
            json!(null),
            json!({"agents": 1}),
            json!({"agents": {"list": [{"id": "main"}, 1]}}),
            json!({"agents": {"entries": {}}}),
        ] {
            assert_eq!(decide(&config, "agent-x", &wanted(), &[]), Step::Absent, "{config}");
        }
    }

    #[test]
    fn rejected_keys_are_read_from_issues_and_messages() {
        let details = json!({"issues": [{"path": "a.heartbeat", "message": "Unrecognized key: \"target\""}]});
        assert_eq!(rejected_keys("invalid config", &details), ["target"]);
        assert_eq!(rejected_keys("x: Unrecognized keys: \"a\", \"b\"", &Value::Null), ["a", "b"]);
        assert!(rejected_keys("other", &Value::Null).is_empty());
    }
}
