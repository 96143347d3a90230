//! Sessions and messages to them.

use serde_json::{Value, json};

use super::Version;
use super::methods::{Outcome, text};
use super::read::{agent_of, key};
use super::refusal::Refusal;
use super::state::{Session, State, merge, now_ms};

pub(crate) fn patch(version: Version, state: &mut State, params: &Value) -> Result<Value, Refusal> {
    let key = key(params);
    if version == Version::V2026_9_6 && !state.has_agent(agent_of(key)) {
        return Err(Refusal::new("UNAVAILABLE", "Session patch failed unexpectedly. Retry the request.")
            .retryable(None));
    }
    if let Some(label) = params.get("label") {
        let label = label.as_str();
        check_label(version, state, key, label)?;
        session(state, key).label = label.map(str::to_owned);
    }
    let held = session(state, key).clone();
    let agent = agent_of(key);
    let path = if version.has_entries() { "agent/openclaw-agent.sqlite" } else { "sessions/sessions.json" };
    let mut entry = json!({ "sessionId": held.id, "updatedAt": now_ms() });
    if version.has_entries() {
        merge(
            &mut entry,
            &json!({ "lifecycleRevision": held.id, "createdVia": "operator", "createdAt": held.created_at }),
        );
    }
    merge(&mut entry, &json!({ "label": held.label }));
    Ok(json!({
        "ok": true,
        "path": format!("/srv/openclaw/state/agents/{agent}/{path}"),
        "key": key,
        "entry": entry,
        "resolved": resolved(version),
    }))
}

fn resolved(version: Version) -> Value {
    match version {
        Version::V2026_2_9 => json!({ "modelProvider": "anthropic", "model": "claude-opus-4-6" }),
        Version::V2026_3_13 | Version::V2026_6_11 => {
            json!({ "modelProvider": "openai", "model": "gpt-5.5", "agentRuntime": { "id": "codex", "source": "implicit" } })
        }
        Version::V2026_9_6 => json!({
            "modelProvider": "openai",
            "model": "gpt-6-astra",
            "agentRuntime": { "id": "codex", "source": "implicit" },
            "runtimeSelectionLocked": false,
        }),
    }
}

fn check_label(version: Version, state: &State, key: &str, label: Option<&str>) -> Result<(), Refusal> {
    let Some(label) = label else { return Ok(()) };
    let max = version.label_chars_max();
    if label.trim().is_empty() {
        return Err(Refusal::invalid("invalid label: empty"));
    }
    if label.chars().count() > max {
        return Err(Refusal::invalid(format!(
            "invalid sessions.patch params: at /label: must NOT have more than {max} characters"
        )));
    }
    let taken =
        state.sessions.iter().any(|(other, session)| other != key && session.label.as_deref() == Some(label));
    if taken { Err(Refusal::invalid(format!("label already in use: {label}"))) } else { Ok(()) }
}

fn session<'a>(state: &'a mut State, key: &str) -> &'a mut Session {
    let new = || Session { id: uuid::Uuid::new_v4().to_string(), label: None, created_at: now_ms() };
    state.sessions.entry(key.to_owned()).or_insert_with(new)
}

pub(crate) fn delete(version: Version, state: &mut State, params: &Value) -> Result<Value, Refusal> {
    let key = key(params);
    if version == Version::V2026_9_6 && key.ends_with(":main") {
        return Err(Refusal::invalid(format!("Cannot delete the main session ({key}).")));
    }
    let removed = state.sessions.remove(key);
    let deleted = removed.is_some();
    let archived: Vec<String> = removed
        .filter(|_| version > Version::V2026_2_9)
        .map(|session| {
            format!("/srv/openclaw/state/agents/{}/sessions/{}.jsonl.deleted", agent_of(key), session.id)
        })
        .into_iter()
        .collect();
    Ok(json!({ "ok": true, "key": key, "deleted": deleted, "archived": archived }))
}

/// Starts a run; the same idempotency key again is told how the first stands.
pub(crate) fn send(version: Version, state: &mut State, params: &Value) -> Outcome {
    let (key, message, run) =
        (text(params, "sessionKey"), text(params, "message"), text(params, "idempotencyKey"));
    let agent = agent_of(key).to_owned();
    if version >= Version::V2026_6_11 && !state.has_agent(&agent) {
        return Err(Refusal::invalid(format!("Agent \"{agent}\" no longer exists in configuration"))).into();
    }
    let asked = state.runs.entry(run.to_owned()).or_insert(0);
    *asked += 1;
    let status = match asked {
        1 => "started",
        2 => "in_flight",
        _ => "ok",
    };
    if *asked == 1 {
        state.messages.push((key.to_owned(), message.to_owned()));
    }
    session(state, key);
    let mut outcome = Outcome::from(Ok(json!({ "runId": run, "status": status })));
    if status == "started" {
        let failed = json!({ "runId": run, "sessionKey": key, "seq": 1, "state": "error", "errorMessage": "No API key found for provider" });
        outcome.events.push(("chat", failed));
    }
    outcome
}
