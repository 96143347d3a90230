//! `GET /api/v1/events/{position}`.

use axum::{Json, extract::State};
use shared::{envelope::ShownEvent, problem::Problem, store::EventFilter};

use super::POSITION_MAX;
use crate::{
    auth::Reader,
    parameters::Segment,
    problem::{Failure, codes},
    state::App,
};

/// Shows one event.
#[utoipa::path(
    get,
    path = "/api/v1/events/{position}",
    operation_id = "getEvent",
    tag = "events",
    params(("position" = u64, Path, description = "Its position in the log")),
    responses(
        (status = 200, description = "The event", body = ShownEvent),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's token", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get(
    State(app): State<App>,
    reader: Reader,
    Segment(text): Segment,
) -> Result<Json<ShownEvent>, Failure> {
    let not_found = || Failure::new(&codes::NOT_FOUND, "There is no such event in this organization.");
    let position: u64 = text.parse().map_err(|_| not_found())?;
    if !(1..=POSITION_MAX).contains(&position) {
        return Err(not_found());
    }
    let page = app.store.log_page(position - 1, 1).await?;
    let filter = EventFilter { organization: reader.organization, ..EventFilter::default() };
    let is_theirs = |event: &&shared::envelope::Recorded| event.position == position && filter.matches(event);
    let event = page.first().filter(is_theirs).ok_or_else(not_found)?;
    event.shown().map(Json).map_err(|error| Failure::internal(&error))
}
