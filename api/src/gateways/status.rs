//! `GET /api/v1/gateways/{id}/status`: a live look by a worker.

use std::time::Duration;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use shared::{
    commit::Commit,
    domain::gateway::Known,
    envelope::StreamId,
    ids::{GatewayId, JobId, OperationId},
    job::{Job, Kind},
    problem::Problem,
    store::CommitError,
    view::{Noted, Observation},
};
use tokio::time::Instant;

use super::{id, not_found};
use crate::{auth::Member, change::owned, parameters::Segment, problem::Failure, state::App};

/// For so long a look is not repeated.
const FRESH: Duration = Duration::from_secs(2);
/// For so long a gateway that refused the credential is not asked again.
const REFUSED: Duration = Duration::from_mins(5);
/// Longest wait for a look.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two reads of what was seen.
const LOOK: Duration = Duration::from_millis(50);

/// Looks whether the gateway can be reached; an unreachable one is 200 with `connected: false`.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{id}/status",
    operation_id = "getGatewayStatus",
    tag = "gateways",
    params(("id" = String, Path, format = Uuid, description = "The gateway")),
    responses(
        (status = 200, description = "What was seen, and when", body = Observation),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A token of no organization", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn status(
    State(app): State<App>,
    member: Member,
    Segment(text): Segment,
) -> Result<Json<Observation>, Failure> {
    let gateway = id(&text)?;
    let known = owned(&app, &member, gateway).await?;
    if !known.is_registered() {
        return Err(not_found(&text));
    }
    let asked_at = app.clock.now();
    let before = noted(&app, gateway).await?;
    if let Some(noted) = before.as_ref().filter(|noted| is_kept(noted, asked_at)) {
        return Ok(Json(noted.observation.clone()));
    }
    let is_first = app.looks.begin(gateway);
    if is_first {
        let enqueued = enqueue(&app, &member, &known).await;
        if enqueued.is_err() {
            app.looks.end(gateway);
        }
        enqueued?;
    }
    let seen = wait(&app, gateway, asked_at).await;
    if is_first {
        app.looks.end(gateway);
    }
    let latest = seen?.or(before).map(|noted| noted.observation);
    Ok(Json(latest.unwrap_or_else(|| nothing(&known))))
}

async fn noted(app: &App, gateway: GatewayId) -> Result<Option<Noted>, Failure> {
    let document = app.store.observation(gateway).await?;
    let noted = document.map(|document| serde_json::from_str(&document)).transpose();
    noted.map_err(|error| Failure::internal(&error))
}

/// The age of an observation, at least zero; `None` if nobody has looked.
fn age(noted: &Noted, now: DateTime<Utc>) -> Option<Duration> {
    let checked = DateTime::parse_from_rfc3339(noted.observation.checked_at.as_deref()?).ok()?;
    Some((now - checked.to_utc()).to_std().unwrap_or_default())
}

fn is_kept(noted: &Noted, now: DateTime<Utc>) -> bool {
    let limit = if noted.refused { REFUSED } else { FRESH };
    age(noted, now).is_some_and(|age| age < limit)
}

/// A job without an event: looking changes nothing.
async fn enqueue(app: &App, member: &Member, known: &Known) -> Result<(), Failure> {
    let gateway = known.request.gateway;
    let stream = StreamId::from(gateway);
    let mut expected = known.revision;
    loop {
        let now = app.clock.now();
        let mut commit = Commit::new(stream.clone(), Some(member.organization), expected, now);
        commit.jobs.push(Job {
            id: JobId::mint(now),
            kind: Kind::ProbeGateway,
            gateway,
            operation: OperationId::mint(now),
            gateway_key: known.request.url.key(),
            run_at: now,
            attempt: 1,
            created_at: now,
            traceparent: Some(member.identity.traceparent.to_string()),
        });
        match app.store.commit(commit).await {
            // Something happened to the gateway meanwhile; looking is right all the same.
            Err(CommitError::Conflict { actual, .. }) => expected = actual,
            other => return Ok(other.map(|_| ())?),
        }
    }
}

async fn wait(app: &App, gateway: GatewayId, asked_at: DateTime<Utc>) -> Result<Option<Noted>, Failure> {
    let until = Instant::now() + LIMIT;
    while Instant::now() < until && !app.stop.is_cancelled() {
        if let Some(noted) = noted(app, gateway).await?
            && age(&noted, asked_at).is_some_and(|age| age.is_zero())
        {
            return Ok(Some(noted));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(None)
}

fn nothing(known: &Known) -> Observation {
    Observation {
        connected: None,
        gateway_url: known.request.url.to_string(),
        runtime_version: None,
        protocol: None,
        latency_ms: None,
        sessions_count: None,
        main_session: None,
        error: None,
        stage: None,
        last_seen_at: None,
        checked_at: None,
    }
}
