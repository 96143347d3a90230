//! `GET /api/v1/gateways/{id}`.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use shared::{problem::Problem, view::GatewayRead};

use super::{id, not_found};
use crate::{auth::Member, parameters::Segment, problem::Failure, state::App, wait::etag};

/// Shows a gateway; 304 where `If-None-Match` names its revision.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{id}",
    operation_id = "getGateway",
    tag = "gateways",
    params(
        ("id" = String, Path, format = Uuid, description = "The gateway"),
        ("If-None-Match" = Option<String>, Header, description = "Only if the gateway has another `ETag`"),
    ),
    responses(
        (status = 200, description = "The gateway", body = GatewayRead, headers(("ETag" = String))),
        (status = 304, description = "It is as `If-None-Match` says"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "A token of no organization", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not there, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get(
    State(app): State<App>,
    member: Member,
    Segment(text): Segment,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let document =
        app.store.gateway(member.organization, id(&text)?).await?.ok_or_else(|| not_found(&text))?;
    let read: GatewayRead = serde_json::from_str(&document).map_err(|error| Failure::internal(&error))?;
    let etag = etag(read.revision);
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let headers = [(header::ETAG, etag), (header::CONTENT_TYPE, "application/json".to_owned())];
    Ok((headers, document).into_response())
}

/// Whether `If-None-Match` names this tag; the comparison is the weak one (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
