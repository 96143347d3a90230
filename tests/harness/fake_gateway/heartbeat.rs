//! Who wakes by itself, by the documented rule.

use serde_json::Value;

use super::state::entries;

const DEFAULT_EVERY: &str = "30m";

pub(crate) fn effective(config: &Value, agent_id: &str) -> Option<String> {
    let entries = entries(config);
    let explicit = entries.iter().any(|(_, entry)| entry.get("heartbeat").is_some());
    let own = entries.iter().find(|(id, _)| id == agent_id).map(|(_, entry)| *entry);
    let heartbeat = own.and_then(|entry| entry.get("heartbeat"));
    let beats = if explicit { heartbeat.is_some() } else { agent_id == default_agent(&entries) };
    if !beats {
        return None;
    }
    let defaults = config.pointer("/agents/defaults/heartbeat/every");
    let every = heartbeat
        .and_then(|own| own.get("every"))
        .or(defaults)
        .and_then(Value::as_str)
        .unwrap_or(DEFAULT_EVERY);
    let off = every.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).parse() == Ok(0_u32);
    (!off).then(|| every.to_owned())
}

/// The entry marked as default, else `main` if listed, else the first.
fn default_agent(entries: &[(String, &Value)]) -> String {
    let marked = entries.iter().find(|(_, entry)| entry.get("default") == Some(&Value::Bool(true)));
    let main = entries.iter().find(|(id, _)| id == "main");
    marked.or(main).or_else(|| entries.first()).map_or_else(|| "main".to_owned(), |(id, _)| id.clone())
}
