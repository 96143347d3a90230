//! Looks whether a gateway can be reached and notes it: an observation, not an event.

use std::time::Duration;

use shared::{
    chain::chain,
    clock::rfc3339,
    commit::Then,
    domain::gateway::{
        Gateway, Known,
        failure::{Failure, Verdict},
        patience::Patience,
    },
    execute::load,
    job::Lease,
    view::{Noted, Observation},
};

use super::{outcome::end, provision_gateway::order};
use crate::{
    config::Deps,
    gateway::{
        Dialer,
        status::{Status, status},
    },
};

/// Most that a look may take.
const LIMIT: Duration = Duration::from_secs(8);

/// One delivery. Nothing is repeated: the next look comes by itself.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    match load(deps.store.as_ref(), lease.job.gateway).await {
        Ok(Gateway::Known(known)) if known.is_registered() => look(deps, lease, &known).await,
        Ok(_) => {}
        Err(error) => tracing::warn!(error = chain(&error), "the gateway's stream could not be read"),
    }
    end(deps, lease, Then::Delete).await;
}

async fn look(deps: &Deps, lease: &Lease, known: &Known) {
    let order = match order(deps, lease, known).await {
        Ok(order) => order,
        Err(error) => {
            tracing::error!(error, "the gateway's secrets could not be opened");
            return;
        }
    };
    let limits = crate::gateway::limits::Limits { attempt: LIMIT, ..deps.dialer.limits.clone() };
    let dialer = Dialer { limits, ..deps.dialer.clone() };
    // Somebody waits for it, whatever the gateway was registered with.
    let order = crate::gateway::provision::Order { patience: Patience::Waiting, ..order };
    let found = status(&dialer, &order).await;
    let gateway = known.request.gateway;
    let before = deps.store.observation(gateway).await.ok().flatten();
    let before = before.and_then(|document| serde_json::from_str::<Noted>(&document).ok());
    let seen_before = before.and_then(|before| before.observation.last_seen_at);
    let now = rfc3339(deps.clock.now());
    let is_refusal = |failure: &Failure| failure.cause.verdict() == Verdict::NeverRepeat;
    let refused = found.as_ref().err().is_some_and(is_refusal);
    let observation = observation(known, found, (now, seen_before));
    tracing::info!(connected = observation.connected, stage = observation.stage, "gateway probed");
    let noted = Noted { observation, refused };
    let written = match serde_json::to_string(&noted) {
        Ok(document) => deps.store.observe(gateway, document).await.map_err(|error| chain(&error)),
        Err(error) => Err(chain(&error)),
    };
    if let Err(error) = written {
        tracing::warn!(error, "an observation could not be kept");
    }
}

fn observation(
    known: &Known,
    found: Result<Status, Failure>,
    (now, seen_before): (String, Option<String>),
) -> Observation {
    let url = known.request.url.to_string();
    match found {
        Ok(status) => Observation {
            connected: Some(true),
            gateway_url: url,
            runtime_version: Some(status.verified.runtime_version),
            protocol: Some(status.verified.protocol),
            latency_ms: Some(status.verified.latency_ms),
            sessions_count: status.sessions_count,
            main_session: status.main_session,
            error: None,
            stage: None,
            last_seen_at: Some(now.clone()),
            checked_at: Some(now),
        },
        Err(failure) => Observation {
            connected: Some(false),
            gateway_url: url,
            runtime_version: failure.runtime_version,
            protocol: None,
            latency_ms: None,
            sessions_count: None,
            main_session: None,
            error: Some(failure.detail),
            stage: Some(failure.stage.to_string()),
            last_seen_at: seen_before,
            checked_at: Some(now),
        },
    }
}
