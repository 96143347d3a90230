//! The table of methods and who may call them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::restart::Planned;
use super::server::Shared;
use super::{Version, agents, config, cron, patch, read, schema, sessions};

/// What a call did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Value, Refusal>,
    pub(crate) restarts: Vec<Planned>,
    pub(crate) events: Vec<(&'static str, Value)>,
}

impl From<Result<Value, Refusal>> for Outcome {
    fn from(result: Result<Value, Refusal>) -> Self {
        Self { result, restarts: Vec::new(), events: Vec::new() }
    }
}

impl From<Value> for Outcome {
    fn from(answer: Value) -> Self {
        Ok(answer).into()
    }
}

pub(crate) fn call(shared: &Arc<Shared>, scopes: &[String], method: &str, params: &Value) -> Outcome {
    let version = shared.options.version;
    if let Err(refusal) = scope(version, scopes, method).and_then(|()| schema::call(method, params)) {
        return Err(refusal).into();
    }
    let mut state = shared.state();
    let mut outcome = match method {
        "agents.create" => agents::create(version, &mut state, params),
        "agents.update" => agents::update(version, &mut state, params).into(),
        "agents.delete" => agents::delete(version, &mut state, params),
        "agents.list" => read::agents(version, &state).into(),
        "agents.files.list" => agents::list_files(version, &state, params).into(),
        "agents.files.get" => agents::get_file(version, &state, params).into(),
        "agents.files.set" => agents::set_file(version, &mut state, params).into(),
        "config.get" if shared.options.one_view => config::one_view(version, &state).into(),
        "config.get" => config::get(version, &state).into(),
        "config.schema" => config::schema(version).into(),
        "config.patch" => patch::patch(version, &mut state, params),
        "status" => read::status(version, &state).into(),
        "sessions.list" => read::sessions(version, &state).into(),
        "sessions.patch" => sessions::patch(version, &mut state, params).into(),
        "sessions.delete" => sessions::delete(version, &mut state, params).into(),
        "chat.send" => sessions::send(version, &mut state, params),
        "cron.add" => cron::add(&mut state, params).into(),
        "cron.list" => cron::list(&state, params).into(),
        "cron.remove" => cron::remove(&mut state, params).into(),
        "device.pair.list" => Ok(json!({ "pending": [], "paired": [] })).into(),
        _ => read::recorded(version, method).into(),
    };
    outcome.restarts =
        outcome.restarts.into_iter().map(|restart| restart.hurried(shared.options.hurry)).collect();
    if method == "config.patch" && outcome.result.is_ok() {
        outcome.restarts.extend(patch::ordered_restarts(&mut state));
    }
    outcome
}

fn scope(version: Version, scopes: &[String], method: &str) -> Result<(), Refusal> {
    let needed = match method {
        "health" => return Ok(()),
        "agents.create" | "agents.update" | "agents.delete" | "agents.files.set" | "config.patch"
        | "sessions.patch" | "sessions.delete" | "cron.add" | "cron.remove" => "operator.admin",
        "chat.send" => "operator.write",
        _ => "operator.read",
    };
    let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
    let implied = needed == "operator.read" && has("operator.write");
    if has("operator.admin") || has(needed) || implied {
        return Ok(());
    }
    let text = format!("missing scope: {needed}");
    Err(if version == Version::V2026_9_6 {
        Refusal::new("FORBIDDEN", text).details(json!({ "code": "MISSING_SCOPE", "missingScope": needed }))
    } else {
        Refusal::invalid(text)
    })
}

/// A text member, empty when missing.
pub(crate) fn text<'a>(params: &'a Value, key: &str) -> &'a str {
    params.get(key).and_then(Value::as_str).unwrap_or_default()
}
