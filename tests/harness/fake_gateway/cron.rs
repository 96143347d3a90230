//! Jobs on a schedule.

use serde_json::{Value, json};

use super::methods::text;
use super::state::{State, merge, now_ms};

pub(crate) fn add(state: &mut State, params: &Value) -> Value {
    let now = now_ms();
    let mut job = json!({ "id": uuid::Uuid::new_v4(), "enabled": true, "createdAtMs": now, "updatedAtMs": now, "state": {} });
    merge(&mut job, params);
    state.cron.push(job.clone());
    job
}

pub(crate) fn list(state: &State, params: &Value) -> Value {
    let agent = text(params, "agentId");
    let jobs: Vec<&Value> =
        state.cron.iter().filter(|job| agent.is_empty() || text(job, "agentId") == agent).collect();
    json!({ "jobs": jobs, "total": jobs.len(), "offset": 0, "limit": 50, "hasMore": false, "nextOffset": null })
}

pub(crate) fn remove(state: &mut State, params: &Value) -> Value {
    let id = if text(params, "id").is_empty() { text(params, "jobId") } else { text(params, "id") };
    let before = state.cron.len();
    state.cron.retain(|job| text(job, "id") != id);
    json!({ "ok": true, "removed": state.cron.len() < before })
}
