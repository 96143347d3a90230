//! Which patch gives our own agent its heartbeat and changes nobody else's in effect.
//!
//! Where one agent has a heartbeat entry, only those with an entry have a heartbeat. So when ours is the first, the
//! default agent gets an empty one, which keeps what it had. Lists are sent whole and in order: old gateways replace
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

/// Decides from `config` of `config.get`.
#[must_use]
pub fn decide(config: &Value, agent_id: &str, wanted: &Map<String, Value>) -> Step {
    let agents = config.get("agents").unwrap_or(&Value::Null);
    match (agents.get("entries").and_then(Value::as_object), agents.get("list").and_then(Value::as_array)) {
        (Some(entries), _) => decide_entries(entries, agent_id, wanted),
        (None, Some(list)) => decide_list(list, agent_id, wanted),
        (None, None) => Step::Absent,
    }
}

fn decide_entries(entries: &Map<String, Value>, agent_id: &str, wanted: &Map<String, Value>) -> Step {
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
        if let Some((default, _)) = default.filter(|(default, _)| *default != key) {
            patch.insert(default.clone(), json!({"heartbeat": {}}));
        }
    }
    Step::Patch(ConfigForm::Entries, json!({"agents": {"entries": patch}}))
}

fn decide_list(list: &[Value], agent_id: &str, wanted: &Map<String, Value>) -> Step {
    let is_ours = |entry: &Value| {
        entry.get("id").and_then(Value::as_str).is_some_and(|id| id.eq_ignore_ascii_case(agent_id))
    };
    let Some(ours) = list.iter().position(is_ours) else { return Step::Absent };
    if list.get(ours).is_some_and(|entry| has(entry, wanted)) {
        return Step::Equal(ConfigForm::List);
    }
    let default = list.iter().position(is_default).unwrap_or(0);
    let is_first = !list.iter().any(has_heartbeat);
    let patched = list.iter().enumerate().map(|(index, entry)| {
        let mut entry = entry.clone();
        if let Value::Object(fields) = &mut entry {
            if index == ours {
                let mut merged =
                    fields.get("heartbeat").and_then(Value::as_object).cloned().unwrap_or_default();
                merged.extend(wanted.clone());
                fields.insert("heartbeat".to_owned(), Value::Object(merged));
            } else if is_first && index == default {
                fields.insert("heartbeat".to_owned(), json!({}));
            }
        }
        entry
    });
    Step::Patch(ConfigForm::List, json!({"agents": {"list": patched.collect::<Vec<_>>()}}))
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
        let Step::Patch(ConfigForm::List, patch) = decide(&config, "Agent-X", &wanted()) else { panic!() };
        assert_eq!(
            patch,
            json!({"agents": {"list": [
                {"id": "main", "key": "__OPENCLAW_REDACTED__", "heartbeat": {}},
                {"id": "other"},
                {"id": "agent-x", "workspace": "/w", "heartbeat": {"every": "30m", "target": "none", "prompt": "check in"}},
            ]}})
        );
        assert_eq!(decide(&patch, "agent-x", &wanted()), Step::Equal(ConfigForm::List));
    }

    #[test]
    fn a_map_is_patched_by_its_keys() {
        let config = json!({"agents": {"entries": {"boss": {"default": true}, "agent-x": {}, "main": {}}}});
        let Step::Patch(ConfigForm::Entries, patch) = decide(&config, "agent-x", &wanted()) else { panic!() };
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
        let Step::Patch(_, patch) = decide(&config, "x", &wanted()) else { panic!() };
        assert_eq!(patch.pointer("/agents/list/0"), Some(&json!({"id": "main"})));
        assert_eq!(patch.pointer("/agents/list/1"), Some(&json!({"id": "o", "heartbeat": {}})));
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
            assert_eq!(decide(&config, "agent-x", &wanted()), Step::Absent, "{config}");
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
