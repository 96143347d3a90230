//! What a look at a registered gateway leaves: an observation for whoever asks, and an event only where something turned.

use std::time::Duration;

use shared::{
    chain::chain,
    clock::rfc3339,
    domain::gateway::{
        Command, Health,
        failure::{Failure, Verdict},
        health::{Ailment, Tally},
    },
    envelope::Actor,
    execute::{Context, ExecuteError, execute},
    ids::GatewayId,
    meter,
    view::{Noted, Observation},
};

use crate::{
    config::Deps,
    gateway::{Dialer, limits::Limits, status::Status},
    jobs::told,
};

/// Most that a look may take.
pub const LIMIT: Duration = Duration::from_secs(8);

/// Dials like a job, but with less time.
#[must_use]
pub fn quick(dialer: &Dialer) -> Dialer {
    let limits = Limits { attempt: LIMIT, ..dialer.limits.clone() };
    Dialer { limits, ..dialer.clone() }
}

/// The document that is kept; `before` is the one that it replaces.
#[must_use]
pub fn noted(
    deps: &Deps,
    url: &str,
    found: &Result<Status, Failure>,
    before: Option<&str>,
) -> Option<String> {
    let before = before.and_then(|document| serde_json::from_str::<Noted>(document).ok());
    let seen_before = before.and_then(|before| before.observation.last_seen_at);
    let now = rfc3339(deps.clock.now());
    let refused = found.as_ref().err().is_some_and(|failure| failure.cause.verdict() == Verdict::NeverRepeat);
    let observation = observation(url, found, (now, seen_before));
    serde_json::to_string(&Noted { observation, refused }).ok()
}

fn observation(
    url: &str,
    found: &Result<Status, Failure>,
    (now, seen_before): (String, Option<String>),
) -> Observation {
    match found {
        Ok(status) => Observation {
            connected: Some(true),
            gateway_url: url.to_owned(),
            runtime_version: Some(status.verified.runtime_version.clone()),
            protocol: Some(status.verified.protocol),
            latency_ms: Some(status.verified.latency_ms),
            sessions_count: status.sessions_count,
            main_session: status.main_session.clone(),
            error: None,
            stage: None,
            last_seen_at: Some(now.clone()),
            checked_at: Some(now),
        },
        Err(failure) => Observation {
            connected: Some(false),
            gateway_url: url.to_owned(),
            runtime_version: failure.runtime_version.clone(),
            protocol: None,
            latency_ms: None,
            sessions_count: None,
            main_session: None,
            error: Some(failure.detail.clone()),
            stage: Some(failure.stage.to_string()),
            last_seen_at: seen_before,
            checked_at: Some(now),
        },
    }
}

/// A gateway as it was known before the look.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// Which.
    pub gateway: GatewayId,
    /// Whether it could be used.
    pub health: Health,
    /// Which version it ran.
    pub ran: Option<&'a str>,
}

/// Writes an event if the look, with those before it, turned something.
///
/// # Errors
///
/// [`ExecuteError`] if it could not be written; the next look tries again.
pub async fn record(
    deps: &Deps,
    before: Before<'_>,
    (found, tally): (&Result<Status, Failure>, Tally),
) -> Result<(), ExecuteError> {
    let turned = tally.turns(before.health);
    let command = match found {
        Ok(status) => {
            let now = status.verified.runtime_version.as_str();
            if turned.is_none() && before.ran == Some(now) {
                return Ok(());
            }
            Command::RecordReached(told(status.verified.clone()))
        }
        Err(failure) => {
            let Some(health) = turned else { return Ok(()) };
            let ailment = Box::new(Ailment { failure: failure.clone(), misses: tally.misses });
            Command::RecordNotUsable { health, ailment }
        }
    };
    let worker_id = deps.settings.worker_id.clone();
    let context = Context { worker_id: Some(worker_id.clone()), ..Context::of(Actor::worker(&worker_id)) };
    let target = (before.gateway, command);
    match execute(deps.store.as_ref(), deps.clock.as_ref(), target, &context, |_| {}).await {
        Ok(_) => tell(before.gateway, turned, found),
        // It is no longer registered.
        Err(ExecuteError::Refused(_)) => {}
        Err(error) => {
            tracing::warn!(gateway.id = %before.gateway, error = chain(&error), "what a probe found could not be recorded; the next one tries again");
            return Err(error);
        }
    }
    Ok(())
}

fn tell(gateway: GatewayId, turned: Option<Health>, found: &Result<Status, Failure>) {
    if let Some(health) = turned {
        meter::gateway_turned(health);
    }
    match (turned, found) {
        (Some(Health::Degraded | Health::Offline), Err(failure)) => {
            let health = turned.map_or("", Health::status);
            tracing::warn!(gateway.id = %gateway, health, stage = %failure.stage, cause = ?failure.cause,
                detail = failure.detail, "the gateway cannot be used");
        }
        (Some(_), _) => tracing::info!(gateway.id = %gateway, "the gateway can be used again"),
        (None, Ok(status)) => {
            tracing::info!(gateway.id = %gateway, runtime_version = status.verified.runtime_version,
                "the gateway runs another version");
        }
        (None, Err(_)) => {}
    }
}
