//! `GET /api/v1/operations`: the organization's operations, newest first.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    clock::{from_micros, micros},
    ids::OperationId,
    problem::Problem,
    view::OperationRead,
};
use utoipa::ToSchema;

use crate::{auth::Member, parameters::Parameters, problem::Failure, state::App, wait::shown};

const STATUSES: [&str; 6] = ["pending", "running", "awaiting_pairing", "succeeded", "failed", "cancelled"];

/// A page of operations.
#[derive(Debug, Serialize, ToSchema)]
pub struct OperationPage {
    /// The operations, newest first.
    pub items: Vec<OperationRead>,
    /// What to give as `cursor` for the next page; null at the end.
    #[schema(required)]
    pub next: Option<String>,
}

/// Lists the organization's operations, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/operations",
    operation_id = "listOperations",
    tag = "operations",
    params(
        ("status" = Option<String>, Query, description = "Only operations of this status", pattern = "^(pending|running|awaiting_pairing|succeeded|failed|cancelled)$"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Most operations to show; 50 by default"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before", pattern = "^[0-9]{1,18}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
    ),
    responses(
        (status = 200, description = "The page", body = OperationPage),
        (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A token of no organization", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    member: Member,
    RawQuery(query): RawQuery,
) -> Result<Json<OperationPage>, Failure> {
    let mut parameters = Parameters::of(query.as_deref());
    let limit = parameters.number("limit", (1, 100), 50);
    let status = parameters.text("status");
    if status.as_ref().is_some_and(|status| !STATUSES.contains(&status.as_str())) {
        parameters.refuse("status", &format!("must be one of {}", STATUSES.join(", ")));
    }
    let text = parameters.text("cursor");
    let before = text.as_deref().and_then(parse);
    if text.is_some() && before.is_none() {
        parameters.refuse("cursor", "must be `next` of an earlier page");
    }
    parameters.done()?;
    let mut page =
        app.store.operations_page(member.organization, status.as_deref(), before, limit + 1).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_last = page.len() <= limit;
    page.truncate(limit);
    let last = page.last().filter(|_| !is_last);
    let next = last.map(|last| format!("{}-{}", micros(last.created_at), last.id));
    let items = page.iter().map(shown).collect::<Result<_, _>>()?;
    Ok(Json(OperationPage { items, next }))
}

/// `<microseconds>-<operation id>`.
fn parse(cursor: &str) -> Option<(DateTime<Utc>, OperationId)> {
    let (at, id) = cursor.split_once('-')?;
    let is_plain = at.bytes().all(|byte| byte.is_ascii_digit()) && at.len() <= 18;
    Some((from_micros(at.parse().ok().filter(|_| is_plain)?), id.parse().ok()?))
}
