//! `GET /api/v1/gateways/{id}/events`: what happened to a gateway, failed registrations included.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::Serialize;
use shared::{
    envelope::{Recorded, ShownEvent, StreamId},
    problem::Problem,
};
use utoipa::ToSchema;

use super::{id, not_found};
use crate::{
    auth::Member,
    parameters::{Parameters, Segment},
    problem::Failure,
    state::App,
};

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventPage {
    /// The events, in order.
    pub items: Vec<ShownEvent>,
    /// The position to continue after; null at the end.
    #[schema(required)]
    pub next: Option<u64>,
}

impl EventPage {
    /// A page of at most `limit` events, from one more that tells whether the page is the last.
    ///
    /// # Errors
    ///
    /// An internal failure if an event cannot be shown.
    pub fn of(events: &[Recorded], limit: u32) -> Result<Self, Failure> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let shown = events.iter().take(limit).map(Recorded::shown).collect::<Result<Vec<_>, _>>();
        let items = shown.map_err(|error| Failure::internal(&error))?;
        let next = if events.len() > limit { items.last().map(|last| last.position) } else { None };
        Ok(Self { items, next })
    }
}

/// Shows what happened to a gateway, in order.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{id}/events",
    operation_id = "listGatewayEvents",
    tag = "events",
    params(
        ("id" = String, Path, format = Uuid, description = "The gateway"),
        ("after" = Option<u64>, Query, minimum = 0, maximum = 9_000_000_000_000_000_u64, description = "Only events after this position"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Most events to show; 100 by default"),
    ),
    responses(
        (status = 200, description = "The page", body = EventPage),
        (status = 400, description = "A parameter is out of range", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A token of no organization", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn events(
    State(app): State<App>,
    member: Member,
    Segment(text): Segment,
    RawQuery(query): RawQuery,
) -> Result<Json<EventPage>, Failure> {
    let mut parameters = Parameters::of(query.as_deref());
    let after = parameters.number("after", (0, 9_000_000_000_000_000), 0);
    let limit = parameters.number("limit", (1, 1_000), 100);
    parameters.done()?;
    let stream = StreamId::from(id(&text)?);
    let first = app.store.stream_page(&stream, 0, 1).await?;
    let is_ours = first.first().is_some_and(|event| event.organization == Some(member.organization));
    if !is_ours {
        return Err(not_found(&text));
    }
    let page = app.store.stream_page(&stream, after, limit + 1).await?;
    EventPage::of(&page, limit).map(Json)
}
