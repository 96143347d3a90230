//! Who wakes by itself, by the rule of each version.

use serde_json::{Value, json};

use super::Version;
use super::state::entries;

const DEFAULT_EVERY: &str = "30m";

/// Its cadence; `None` for an agent that does not wake.
pub(crate) fn effective(version: Version, config: &Value, agent_id: &str) -> Option<String> {
    let every = every(config, agent_id);
    (is_enrolled(version, config, agent_id) && !is_off(&every)).then_some(every)
}

/// The row of `status`. Up to 2026.6.11 an agent without a cadence is called enabled.
pub(crate) fn row(version: Version, config: &Value, agent_id: &str) -> Value {
    let every = every(config, agent_id);
    let has_cadence = !is_off(&every);
    let enabled = is_enrolled(version, config, agent_id) && (has_cadence || version < Version::V2026_9_6);
    let shown = if enabled { every } else { "disabled".to_owned() };
    // Nothing here counts the milliseconds; a number is what a client sees.
    let every_ms = (enabled && has_cadence).then_some(1_800_000);
    let mut row = json!({ "agentId": agent_id, "enabled": enabled, "every": shown, "everyMs": every_ms });
    if version == Version::V2026_9_6 {
        row["waitingForRoute"] = json!(false);
    }
    row
}

fn is_enrolled(version: Version, config: &Value, agent_id: &str) -> bool {
    let entries = entries(config);
    if entries.iter().any(|(_, entry)| entry.get("heartbeat").is_some()) {
        return entries.iter().any(|(id, entry)| id == agent_id && entry.get("heartbeat").is_some());
    }
    let defaults = config.pointer("/agents/defaults/heartbeat");
    let named = defaults.and_then(|defaults| defaults.get("agentId")).and_then(Value::as_str);
    match (named, defaults) {
        (Some(named), _) if version == Version::V2026_9_6 => named == agent_id,
        (_, Some(_)) if version >= Version::V2026_6_11 => true,
        _ => agent_id == default_agent(&entries),
    }
}

fn every(config: &Value, agent_id: &str) -> String {
    let entries = entries(config);
    let own = entries.iter().find(|(id, _)| id == agent_id).and_then(|(_, entry)| entry.get("heartbeat"));
    let defaults = config.pointer("/agents/defaults/heartbeat/every");
    let every = own.and_then(|own| own.get("every")).or(defaults).and_then(Value::as_str);
    every.unwrap_or(DEFAULT_EVERY).to_owned()
}

fn is_off(every: &str) -> bool {
    every.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).parse() == Ok(0_u32)
}

/// The entry marked as default, else `main` if listed, else the first.
fn default_agent(entries: &[(String, &Value)]) -> String {
    let marked = entries.iter().find(|(_, entry)| entry.get("default") == Some(&Value::Bool(true)));
    let main = entries.iter().find(|(id, _)| id == "main");
    marked.or(main).or_else(|| entries.first()).map_or_else(|| "main".to_owned(), |(id, _)| id.clone())
}
