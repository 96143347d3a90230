//! Our own entry in the gateway's configuration: read, decide, patch, and look again where the outcome is not known.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use shared::domain::gateway::failure::{Cause, Failure, Stage};

use super::{
    frame::ErrorBody,
    refusal::Refused,
    session::{Pending, Progress, Session},
};
use crate::agent::{
    config_patch::{self, ConfigForm, Step, decide},
    templates::HEARTBEAT_PROMPT,
};

/// How often a patch is decided anew: a stale hash, a lost answer, or keys that are not known.
const PATCH_TRIES_MAX: u32 = 5;
/// How often the configuration is read within the time of one call because no answer came. Gateways write first and
/// answer when the change is in effect, which can take minutes. The patch is not sent again meanwhile: a gateway counts
/// patches, and takes 3 a minute.
const PATCH_LOOKS: u32 = 4;
/// Before a patch is repeated where the gateway does not tell when it is available again.
const UNTOLD: Duration = Duration::from_secs(1);
/// Before the configuration is read again.
const AGAIN: Duration = Duration::from_millis(200);

/// Gives our own entry its heartbeat; `None` for no heartbeat.
///
/// # Errors
///
/// A refusal, or no answer.
pub async fn write_config(
    session: &mut Session<'_>,
    agent_id: &str,
    every: Option<Duration>,
) -> Result<ConfigForm, Refused> {
    session.stage = Stage::Config;
    let Some(every) = every else { return Ok(ConfigForm::None) };
    let mut wanted = config_patch::heartbeat(every, HEARTBEAT_PROMPT);
    let mut may_drop_keys = true;
    let not_yet_until = Instant::now() + session.call_limit();
    let mut last = None;
    let mut tries = 0;
    while tries < PATCH_TRIES_MAX {
        let held = session.call("config.get", json!({})).await?;
        let config = held.get("config").unwrap_or(&Value::Null);
        // Asked after the configuration was read: what changes in between makes the hash stale.
        let beating = if config_patch::is_explicit(config) { None } else { beating(session).await? };
        let (form, patch) = match decide(config, agent_id, &wanted, beating.as_deref()) {
            Step::Equal(form) => return Ok(form),
            Step::Patch(form, patch) => (form, patch),
            Step::Absent if Instant::now() < not_yet_until => {
                session.watch(Instant::now() + AGAIN).await;
                continue;
            }
            Step::Absent => {
                let detail = "The agent is not in the gateway's configuration after it was created. Check on its host \
                              that the gateway may write its openclaw.json, and its version: openclaw --version.";
                return Err(Failure::new(Stage::Config, Cause::CallRefused, detail).into());
            }
        };
        tries += 1;
        let mut params = json!({"raw": patch.to_string()});
        if let (Some(hash), Value::Object(params)) =
            (held.get("hash").filter(|hash| hash.is_string()), &mut params)
        {
            params.insert("baseHash".to_owned(), hash.clone());
        }
        let pending = session.send("config.patch", params).await?;
        let error = match outcome(session, &pending, (agent_id, &wanted)).await? {
            Outcome::Written => return Ok(form),
            // What the gateway holds tells.
            Outcome::Unknown => {
                last = None;
                continue;
            }
            Outcome::Refused(error) => error,
        };
        let rejected = config_patch::rejected_keys(&error.message, &error.details);
        let is_stale = error.message.contains("config changed") || error.message.contains("baseHash");
        if may_drop_keys && rejected.iter().any(|key| wanted.contains_key(key)) {
            may_drop_keys = false;
            wanted.retain(|key, _| !rejected.contains(key));
        } else if error.is_unavailable() {
            let Some(wait) = session.granted(error.retry_after(), UNTOLD) else {
                return Err(session.refused("config.patch", &error));
            };
            // Its own limit, not a try of ours that failed.
            tries -= u32::from(error.retry_after().is_some());
            tracing::info!(
                wait_ms = wait.as_millis(),
                "the gateway asks to wait before its configuration is changed"
            );
            session.watch(Instant::now() + wait).await;
        } else if error.code == "UNAVAILABLE" {
            // It may be written and not in effect yet.
            session.watch(Instant::now() + AGAIN).await;
        } else if !is_stale {
            return Err(session.refused("config.patch", &error));
        }
        last = Some(error);
    }
    Err(match last {
        Some(error) => session.refused("config.patch", &error),
        None => session.lost_for_good().into(),
    })
}

enum Outcome {
    Written,
    Unknown,
    Refused(ErrorBody),
}

async fn outcome(
    session: &mut Session<'_>,
    pending: &Pending,
    (agent_id, wanted): (&str, &Map<String, Value>),
) -> Result<Outcome, Refused> {
    let look = session.call_limit() / PATCH_LOOKS;
    for _ in 0..PATCH_LOOKS {
        match session.progress(pending, Instant::now() + look).await? {
            Progress::Answered(Ok(_)) => return Ok(Outcome::Written),
            Progress::Answered(Err(error)) => return Ok(Outcome::Refused(error)),
            Progress::Lost => return Ok(Outcome::Unknown),
            Progress::Waiting => {}
        }
        let held = session.call("config.get", json!({})).await?;
        let step = decide(held.get("config").unwrap_or(&Value::Null), agent_id, wanted, None);
        if matches!(step, Step::Equal(_)) {
            return Ok(Outcome::Written);
        }
    }
    Err(session.too_slow().into())
}

/// Whose heartbeat is on now; `None` where the gateway does not tell.
async fn beating(session: &mut Session<'_>) -> Result<Option<Vec<String>>, Refused> {
    let status = session.ask_optional("status", json!({})).await?;
    Ok(status.as_ref().and_then(config_patch::beating))
}
