//! Read methods answered from recordings.

use serde_json::{Value, json};

use super::Version;
use super::heartbeat;
use super::methods::text;
use super::refusal::Refusal;
use super::state::{Session, State, merge, now_ms};

/// `agents.list` with the recorded row of `main` as the shape of each.
pub(crate) fn agents(version: Version, state: &State) -> Value {
    let mut answer = version.recorded_read("agents.list").unwrap_or_default();
    let row = answer.pointer("/agents/0").cloned().unwrap_or_default();
    let held = state.agents();
    let mut rows: Vec<Value> = Vec::new();
    if !held.iter().any(|agent| agent.id == "main") {
        rows.push(row.clone());
    }
    for agent in &held {
        let mut shown = row.clone();
        merge(&mut shown, &json!({ "id": agent.id }));
        if let Some(name) = &agent.name {
            merge(&mut shown, &json!({ "name": name }));
            if version > Version::V2026_2_9 {
                merge(&mut shown, &json!({ "identity": { "name": name } }));
            }
        }
        if version > Version::V2026_2_9 {
            merge(&mut shown, &json!({ "workspace": agent.workspace }));
        }
        if version.has_entries() && agent.id != "main" {
            let made = json!({ "workspaceGit": true, "createdVia": "operator", "createdAt": now_ms(), "creatorAgentId": null });
            merge(&mut shown, &made);
        }
        rows.push(shown);
    }
    if version.has_entries() && rows.len() > 1 {
        merge(&mut answer, &json!({ "ownership": "explicit" }));
    }
    merge(&mut answer, &json!({ "agents": rows }));
    answer
}

/// `sessions.list`: the recorded answer with the sessions that are there.
pub(crate) fn sessions(version: Version, state: &State) -> Value {
    let mut answer = version.recorded_read("sessions.list").unwrap_or_default();
    let shown = |(key, session): (&String, &Session)| json!({ "key": key, "kind": "direct", "label": session.label, "sessionId": session.id, "updatedAt": session.created_at });
    let rows: Vec<Value> = state.sessions.iter().map(shown).collect();
    merge(&mut answer, &json!({ "count": rows.len(), "sessions": rows }));
    if let Some(total) = answer.get_mut("totalCount") {
        *total = json!(rows.len());
    }
    answer
}

/// `status`: the recorded answer with the heartbeats that are on.
pub(crate) fn status(version: Version, state: &State) -> Value {
    let mut answer = version.recorded_read("status").unwrap_or_default();
    let mut ids: Vec<String> = state.agents().into_iter().map(|agent| agent.id).collect();
    if !ids.iter().any(|id| id == "main") {
        ids.insert(0, "main".to_owned());
    }
    let rows: Vec<Value> = ids.iter().map(|id| heartbeat::row(version, &state.config, id)).collect();
    merge(&mut answer, &json!({ "heartbeat": { "agents": rows } }));
    answer
}

/// A method that was recorded once answers so always; others do not exist here.
pub(crate) fn recorded(version: Version, method: &str) -> Result<Value, Refusal> {
    version.recorded_read(method).ok_or_else(|| Refusal::invalid(format!("unknown method: {method}")))
}

/// The agent in `agent:<id>:main`.
pub(crate) fn agent_of(key: &str) -> &str {
    key.strip_prefix("agent:").and_then(|rest| rest.split(':').next()).unwrap_or_default()
}

/// The key of a session as the params name it.
pub(crate) fn key(params: &Value) -> &str {
    text(params, "key")
}
