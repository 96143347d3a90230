//! `config.patch`: base hash, closed keys, merging, restarts.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::fault::{Fault, STALE, rate_limited};
use super::methods::{Outcome, text};
use super::refusal::Refusal;
use super::restart::Planned;
use super::state::{State, merge, now_ms};
use super::{Version, agents, config};

const TOP: [&str; 17] = [
    "meta",
    "env",
    "wizard",
    "update",
    "browser",
    "agents",
    "tools",
    "messages",
    "commands",
    "cron",
    "channels",
    "discovery",
    "gateway",
    "models",
    "talk",
    "session",
    "bindings",
];
const ENTRY: [&str; 18] = [
    "id",
    "default",
    "name",
    "workspace",
    "agentDir",
    "model",
    "skills",
    "memorySearch",
    "humanDelay",
    "heartbeat",
    "identity",
    "groupChat",
    "subagents",
    "sandbox",
    "tools",
    "params",
    "runtime",
    "thinkingDefault",
];
const HEARTBEAT: [&str; 14] = [
    "every",
    "target",
    "prompt",
    "model",
    "to",
    "session",
    "ackMaxChars",
    "activeHours",
    "accountId",
    "lightContext",
    "isolatedSession",
    "directPolicy",
    "suppressToolErrorWarnings",
    "includeReasoning",
];

pub(crate) fn patch(version: Version, state: &mut State, params: &Value) -> Outcome {
    match prepare(version, state, params) {
        Err(refusal) => Err(refusal).into(),
        Ok(next) => apply(version, state, next),
    }
}

fn prepare(version: Version, state: &mut State, params: &Value) -> Result<Value, Refusal> {
    limit(version, state)?;
    let Some(base) = params.get("baseHash").and_then(Value::as_str) else {
        return Err(Refusal::invalid("config base hash required; re-run config.get and retry"));
    };
    if base != state.hash() {
        return Err(Refusal::invalid(STALE));
    }
    let patch: Value = serde_json::from_str(text(params, "raw")).unwrap_or_default();
    if !patch.is_object() {
        return Err(Refusal::invalid("config.patch raw must be an object"));
    }
    let mut next = state.config.clone();
    apply_patch(version, &mut next, &patch);
    restore_secrets(&mut next, &state.config);
    let issues = issues(version, &next);
    if issues.is_empty() {
        return Ok(next);
    }
    let all: Vec<String> = issues.iter().map(|(path, text)| format!("{path}: {text}")).collect();
    let message = if version.has_detail_codes() {
        format!("invalid config: {}", all.join("; "))
    } else {
        "invalid config".to_owned()
    };
    let listed: Vec<Value> =
        issues.iter().map(|(path, text)| json!({ "path": path, "message": text })).collect();
    Err(Refusal::invalid(message).details(json!({ "issues": listed })))
}

fn limit(version: Version, state: &mut State) -> Result<(), Refusal> {
    let Some(max) = version.patches_max() else { return Ok(()) };
    let window = state.patch_window;
    state.patches.retain(|at| at.elapsed() < window);
    if state.patches.len() >= max {
        let oldest = state.patches.first().map_or(Duration::ZERO, Instant::elapsed);
        let after = window.saturating_sub(oldest).as_millis().try_into().unwrap_or(60_000);
        state.patches_refused += 1;
        return Err(rate_limited("config.patch", after));
    }
    state.patches.push(Instant::now());
    Ok(())
}

/// Member by member; null removes; arrays replace on 2026.2.9 and merge by id later.
fn apply_patch(version: Version, into: &mut Value, patch: &Value) {
    let Some(members) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Some(held) = into.as_object_mut() else { return };
    for (key, value) in members {
        match value {
            Value::Null => drop(held.shift_remove(key)),
            Value::Array(items) if version > Version::V2026_2_9 => merge_by_id(version, held, key, items),
            Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                apply_patch(version, held.entry(key).or_insert(Value::Null), value);
            }
        }
    }
}

fn merge_by_id(version: Version, held: &mut Map<String, Value>, key: &str, items: &[Value]) {
    let by_id = items.iter().all(|item| item.get("id").is_some());
    let Some(list) = held.get_mut(key).and_then(Value::as_array_mut).filter(|_| by_id) else {
        held.insert(key.to_owned(), json!(items));
        return;
    };
    for item in items {
        match list.iter_mut().find(|other| text(other, "id") == text(item, "id")) {
            Some(other) => apply_patch(version, other, item),
            None => list.push(item.clone()),
        }
    }
}

fn restore_secrets(next: &mut Value, old: &Value) {
    for at in ["/gateway/auth/token", "/gateway/auth/password"] {
        if let (Some(secret), Some(held)) = (next.pointer_mut(at), old.pointer(at))
            && secret == "__OPENCLAW_REDACTED__"
        {
            secret.clone_from(held);
        }
    }
}

type Issue = (String, String);

fn issues(version: Version, config: &Value) -> Vec<Issue> {
    let mut found = unknown("", config, &TOP);
    let agents = config.get("agents").unwrap_or(&Value::Null);
    let form = if version.has_entries() { ["entries", "ownership"] } else { ["list", "list"] };
    found.extend(unknown("agents", agents, &[&["defaults"], form.as_slice()].concat()));
    for (id, entry) in super::state::entries(config) {
        let at =
            if version.has_entries() { format!("agents.entries.{id}") } else { format!("agents.list.{id}") };
        found.extend(unknown(&at, entry, &ENTRY));
        found.extend(heartbeat(version, &format!("{at}.heartbeat"), entry.get("heartbeat")));
    }
    found.extend(heartbeat(version, "agents.defaults.heartbeat", agents.pointer("/defaults/heartbeat")));
    if version.has_entries() && config.pointer("/channels/defaults/heartbeat").is_some() {
        found.push(("channels.defaults".to_owned(), "Unrecognized key: \"heartbeat\"".to_owned()));
    }
    found
}

fn heartbeat(version: Version, at: &str, heartbeat: Option<&Value>) -> Vec<Issue> {
    let known = if version.has_entries() {
        HEARTBEAT.split_last().map_or(&HEARTBEAT[..], |(_, rest)| rest)
    } else {
        &HEARTBEAT[..]
    };
    heartbeat.map(|heartbeat| unknown(at, heartbeat, known)).unwrap_or_default()
}

fn unknown(at: &str, value: &Value, known: &[&str]) -> Vec<Issue> {
    let members = value.as_object().into_iter().flatten();
    let strange = members.filter(|(key, _)| !known.contains(&key.as_str()));
    strange.map(|(key, _)| (at.to_owned(), format!("Unrecognized key: \"{key}\""))).collect()
}

fn apply(version: Version, state: &mut State, next: Value) -> Outcome {
    let unchanged = next == state.config;
    if unchanged && version >= Version::V2026_6_11 {
        return Ok(json!({ "ok": true, "noop": true, "path": config::PATH, "config": config::after_patch(version, state) })).into();
    }
    let without_agents = |config: &Value| {
        let mut config = config.clone();
        drop(
            config
                .as_object_mut()
                .map(|members| (members.shift_remove("agents"), members.shift_remove("meta"))),
        );
        config
    };
    let beyond_agents = without_agents(&next) != without_agents(&state.config);
    state.config = next;
    state.touch();
    let mut answer =
        json!({ "ok": true, "path": config::PATH, "config": config::after_patch(version, state) });
    merge(&mut answer, &sentinel(version, beyond_agents));
    let mut outcome = Outcome::from(Ok(answer));
    outcome.restarts = match version {
        Version::V2026_2_9 => vec![Planned::millis(600, 15), Planned::millis(2000, 15)],
        Version::V2026_3_13 => vec![Planned::millis(550, 15)],
        Version::V2026_6_11 if beyond_agents => vec![Planned::millis(1200, 1500)],
        Version::V2026_6_11 | Version::V2026_9_6 => Vec::new(),
    };
    if version == Version::V2026_9_6 {
        outcome.events.push(agents::changed(state));
    }
    outcome
}

fn sentinel(version: Version, restart: bool) -> Value {
    let old = version <= Version::V2026_3_13;
    let kind = if old { "config-apply" } else { "config-patch" };
    let mut answer = json!({ "sentinel": { "payload": {
        "kind": kind, "status": "ok", "ts": now_ms(), "message": null,
        "doctorHint": "Run: openclaw doctor --non-interactive",
        "stats": { "mode": "config.patch", "root": config::PATH },
    } } });
    let more = if old {
        json!({
            "sentinel": { "path": "/srv/openclaw/state/restart-sentinel.json" },
            "restart": { "ok": true, "pid": 4242, "signal": "SIGUSR1", "delayMs": 2000, "reason": "config.patch", "mode": "emit" },
        })
    } else {
        let stats = json!({ "requiresRestart": restart });
        json!({ "sentinel": { "persisted": restart, "payload": { "stats": stats } } })
    };
    merge(&mut answer, &more);
    answer
}

/// The restarts that faults order, as they say and not hurried.
pub(crate) fn ordered_restarts(state: &mut State) -> Vec<Planned> {
    let ordered = state.faults.take(|fault, _| {
        let Fault::RestartAfterPatch { down, delay, twice } = fault else { return None };
        Some((*down, *delay, *twice))
    });
    let Some((down, delay, twice)) = ordered else { return Vec::new() };
    let again = Planned { delay: delay + down + down.max(Duration::from_millis(300)), down };
    let mut restarts = vec![Planned { delay, down }];
    restarts.extend(twice.then_some(again));
    restarts
}
