//! `GET /api/v1/events`: what happened, in order.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use shared::problem::Problem;

use super::{POSITION_MAX, filter};
use crate::{
    auth::Reader, gateways::events::EventPage, parameters::Parameters, problem::Failure, state::App,
};

/// Shows what happened in the organization, in order; to the operator, in the whole installation.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    operation_id = "listEvents",
    tag = "events",
    params(
        ("type" = Option<String>, Query, description = "Only events of this name", pattern = "^[A-Za-z0-9]{1,100}$"),
        ("stream" = Option<String>, Query, description = "Only events of this stream", pattern = "^[A-Za-z0-9-]{1,100}$"),
        ("actor" = Option<String>, Query, description = "Only events that this actor caused", pattern = "^[A-Za-z0-9-]{1,100}$"),
        ("operation" = Option<String>, Query, format = Uuid, description = "Only events of this operation"),
        ("since" = Option<String>, Query, format = DateTime, description = "Only events recorded then or later"),
        ("until" = Option<String>, Query, format = DateTime, description = "Only events recorded before"),
        ("after" = Option<u64>, Query, minimum = 0, maximum = 9_000_000_000_000_000_u64, description = "Only events after this position"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Most events to show; 100 by default"),
    ),
    responses(
        (status = 200, description = "The page", body = EventPage),
        (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's token", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    reader: Reader,
    RawQuery(query): RawQuery,
) -> Result<Json<EventPage>, Failure> {
    let mut parameters = Parameters::of(query.as_deref());
    let after = parameters.number("after", (0, POSITION_MAX), 0);
    let limit = parameters.number("limit", (1, 1_000), 100);
    let filter = filter(&mut parameters, &reader);
    parameters.done()?;
    let page = app.store.events(&filter, after, limit + 1).await?;
    EventPage::of(&page, limit).map(Json)
}
