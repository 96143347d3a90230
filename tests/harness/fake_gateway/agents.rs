//! Agents and their files.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::Version;
use super::methods::{Outcome, text};
use super::refusal::Refusal;
use super::restart::Planned;
use super::state::{State, merge, now_ms};

const STATE_DIR: &str = "/srv/openclaw/state";
const SEEDED: [&str; 7] =
    ["AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md", "BOOTSTRAP.md"];

/// 2026.2.9 restarts once for every agent made or deleted.
fn restarts(version: Version) -> Vec<Planned> {
    if version == Version::V2026_2_9 { vec![Planned::millis(550, 15)] } else { Vec::new() }
}

/// Lower case, anything else than `[a-z0-9_-]` to `-`, trimmed, cut at 64.
pub(crate) fn normalise(name: &str) -> String {
    let id: String = name
        .trim()
        .to_lowercase()
        .chars()
        .map(|letter| {
            if letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-".contains(letter) {
                letter
            } else {
                '-'
            }
        })
        .collect();
    id.trim_matches('-').chars().take(64).collect()
}

pub(crate) fn create(version: Version, state: &mut State, params: &Value) -> Outcome {
    let (name, workspace) = (text(params, "name").trim(), text(params, "workspace"));
    let id = normalise(name);
    if id.is_empty() || name.is_empty() {
        return Err(Refusal::invalid(
            "invalid agents.create params: at /name: must NOT have fewer than 1 characters",
        ))
        .into();
    }
    if id == "main" {
        return Err(Refusal::invalid("\"main\" is reserved")).into();
    }
    if state.has_agent(&id) {
        return Err(Refusal::invalid(format!("agent \"{id}\" already exists"))).into();
    }
    let workspace = absolute(workspace);
    let mut entry =
        json!({ "name": name, "workspace": workspace, "agentDir": format!("{STATE_DIR}/agents/{id}/agent") });
    if version > Version::V2026_2_9 {
        merge(&mut entry, &json!({ "identity": { "name": name } }));
    }
    insert(version, state, &id, entry);
    state.touch();
    let seeded = SEEDED.iter().filter(|file| version.takes_file(file));
    // The same id again finds the files that its first life left in the workspace.
    let files = state.files.entry(id.clone()).or_default();
    for file in seeded {
        files.entry((*file).to_owned()).or_insert_with(|| format!("# {file}\n"));
    }
    state.just_created.insert(id.clone());
    let result = Ok(json!({ "ok": true, "agentId": id, "name": name, "workspace": workspace }));
    let mut outcome = Outcome { restarts: restarts(version), ..result.into() };
    if version == Version::V2026_9_6 {
        outcome.events.push(changed(state));
    }
    outcome
}

/// The event with which 2026.9.6 tells of a write.
pub(crate) fn changed(state: &State) -> (&'static str, Value) {
    ("config.changed", json!({ "path": "/srv/openclaw/openclaw.json", "hash": state.hash(), "ts": now_ms() }))
}

fn absolute(workspace: &str) -> String {
    match workspace.strip_prefix("~/") {
        Some(rest) => format!("/home/openclaw/{rest}"),
        None if workspace.starts_with('/') => workspace.to_owned(),
        None => format!("/srv/openclaw/{workspace}"),
    }
}

fn insert(version: Version, state: &mut State, id: &str, mut entry: Value) {
    if version.has_entries() {
        let main = json!({ "workspace": "/srv/openclaw/ws/main" });
        let defaults = json!({ "systemAgent": { "agentId": "main" } });
        merge(
            &mut state.config,
            &json!({ "agents": { "ownership": "explicit", "defaults": defaults }, "talk": { "agentId": "main" } }),
        );
        let entries = agents(state).entry("entries").or_insert_with(|| json!({}));
        let entries = entries.as_object_mut().expect("agents.entries is a map");
        entries.entry("main").or_insert(main);
        entries.insert(id.to_owned(), entry);
        return;
    }
    let mut listed = Map::new();
    listed.insert("id".to_owned(), json!(id));
    listed.append(entry.as_object_mut().expect("an entry is a map"));
    let list = agents(state).entry("list").or_insert_with(|| json!([]));
    let list = list.as_array_mut().expect("agents.list is a list");
    if !list.iter().any(|entry| text(entry, "id") == "main") {
        list.insert(0, json!({ "id": "main" }));
    }
    list.push(Value::Object(listed));
}

fn agents(state: &mut State) -> &mut Map<String, Value> {
    state.config.get_mut("agents").and_then(Value::as_object_mut).expect("agents is a map")
}

pub(crate) fn update(version: Version, state: &mut State, params: &Value) -> Result<Value, Refusal> {
    let id = text(params, "agentId");
    let Some(entry) = state.entry(id) else { return Err(not_found(id)) };
    if let Some(name) = params.get("name") {
        entry.insert("name".to_owned(), name.clone());
        if version > Version::V2026_2_9 {
            entry.insert("identity".to_owned(), json!({ "name": name }));
        }
    }
    if params.get("workspace").is_some() {
        entry.insert("workspace".to_owned(), json!(absolute(text(params, "workspace"))));
    }
    state.touch();
    Ok(json!({ "ok": true, "agentId": id }))
}

fn not_found(id: &str) -> Refusal {
    Refusal::invalid(format!("agent \"{id}\" not found"))
}

pub(crate) fn delete(version: Version, state: &mut State, params: &Value) -> Outcome {
    let id = text(params, "agentId");
    if id == "main" {
        return Err(Refusal::invalid("\"main\" cannot be deleted")).into();
    }
    if state.entry(id).is_none() {
        return Err(not_found(id)).into();
    }
    let agents = agents(state);
    if let Some(list) = agents.get_mut("list").and_then(Value::as_array_mut) {
        list.retain(|entry| text(entry, "id") != id);
    }
    if let Some(entries) = agents.get_mut("entries").and_then(Value::as_object_mut) {
        entries.shift_remove(id);
    }
    state.touch();
    state.just_created.remove(id);
    if params.get("deleteFiles") != Some(&Value::Bool(false)) {
        state.files.remove(id);
    }
    let mut answer = json!({ "ok": true, "agentId": id, "removedBindings": 0 });
    if version == Version::V2026_9_6 {
        state.cron.retain(|job| text(job, "agentId") != id);
        state.sessions.retain(|key, _| !key.starts_with(&format!("agent:{id}:")));
        let removed = json!([{ "path": format!("{STATE_DIR}/agents/{id}/agent/openclaw-agent.sqlite"), "method": "trash" }]);
        merge(&mut answer, &json!({ "removed": removed, "failed": [] }));
    }
    Outcome { restarts: restarts(version), ..Ok(answer).into() }
}

fn workspace(version: Version, state: &State, id: &str) -> Result<String, Refusal> {
    let agent = state.agents().into_iter().find(|agent| agent.id == id);
    match agent {
        Some(agent) => Ok(agent.workspace.unwrap_or_else(|| "/srv/openclaw/ws/main".to_owned())),
        None if id == "main" => Ok("/srv/openclaw/ws/main".to_owned()),
        None if version == Version::V2026_9_6 => Err(not_found(id)),
        None => Err(Refusal::invalid("unknown agent id")),
    }
}

fn shown(version: Version, workspace: &str, name: &str, content: Option<&str>) -> Value {
    let mut file =
        json!({ "name": name, "path": format!("{workspace}/{name}"), "missing": content.is_none() });
    if content.is_none() && version == Version::V2026_9_6 {
        merge(&mut file, &json!({ "expectedAbsent": true }));
    }
    if let Some(content) = content {
        merge(&mut file, &json!({ "size": content.len(), "updatedAtMs": now_ms() }));
        if version == Version::V2026_9_6 {
            merge(&mut file, &json!({ "hash": hex::encode(Sha256::digest(content)) }));
        }
    }
    file
}

pub(crate) fn list_files(version: Version, state: &State, params: &Value) -> Result<Value, Refusal> {
    let id = text(params, "agentId");
    let workspace = workspace(version, state, id)?;
    let held = |name: &str| state.files.get(id).and_then(|files| files.get(name)).map(String::as_str);
    let listed = version.listed_files().iter().map(|name| {
        let mut file = shown(version, &workspace, name, held(name));
        file.as_object_mut().expect("a file is a map").shift_remove("hash");
        file
    });
    Ok(json!({ "agentId": id, "workspace": workspace, "files": listed.collect::<Vec<_>>() }))
}

pub(crate) fn get_file(version: Version, state: &State, params: &Value) -> Result<Value, Refusal> {
    let (id, name) = (text(params, "agentId"), text(params, "name"));
    let workspace = workspace(version, state, id)?;
    supported(version, name)?;
    let content = state.files.get(id).and_then(|files| files.get(name));
    let mut file = shown(version, &workspace, name, content.map(String::as_str));
    merge(&mut file, &json!({ "content": content }));
    Ok(json!({ "agentId": id, "workspace": workspace, "file": file }))
}

pub(crate) fn set_file(version: Version, state: &mut State, params: &Value) -> Result<Value, Refusal> {
    let (id, name, content) = (text(params, "agentId"), text(params, "name"), text(params, "content"));
    let workspace = workspace(version, state, id)?;
    supported(version, name)?;
    state.files.entry(id.to_owned()).or_default().insert(name.to_owned(), content.to_owned());
    let mut file = shown(version, &workspace, name, Some(content));
    merge(&mut file, &json!({ "content": content }));
    Ok(json!({ "ok": true, "agentId": id, "workspace": workspace, "file": file }))
}

fn supported(version: Version, name: &str) -> Result<(), Refusal> {
    if version.takes_file(name) {
        Ok(())
    } else {
        Err(Refusal::invalid(format!("unsupported file \"{name}\"")))
    }
}
