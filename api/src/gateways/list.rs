//! `GET /api/v1/gateways`: the organization's gateways, newest first.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{problem::Problem, view::GatewayRead};
use utoipa::ToSchema;

use crate::{auth::Member, parameters::Parameters, problem::Failure, state::App};

/// A page of gateways.
#[derive(Debug, Serialize, ToSchema)]
pub struct GatewayPage {
    /// The gateways.
    #[schema(value_type = Vec<GatewayRead>)]
    pub items: Vec<Box<RawValue>>,
    /// How many there are in all.
    pub total: u64,
    /// As asked for.
    pub limit: u32,
    /// As asked for.
    pub offset: u64,
}

/// Lists the organization's gateways, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/gateways",
    operation_id = "listGateways",
    tag = "gateways",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Most gateways to show; 50 by default"),
        ("offset" = Option<u64>, Query, minimum = 0, maximum = 9_000_000_000_000_000_u64, description = "How many to pass over"),
    ),
    responses(
        (status = 200, description = "The page", body = GatewayPage),
        (status = 400, description = "A parameter is out of range", body = Problem, content_type = "application/problem+json"),
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
) -> Result<Json<GatewayPage>, Failure> {
    let mut parameters = Parameters::of(query.as_deref());
    let limit = parameters.number("limit", (1, 100), 50);
    let offset = parameters.number("offset", (0, 9_000_000_000_000_000), 0);
    parameters.done()?;
    let page = app.store.gateways(member.organization, limit, offset).await?;
    let items = page.items.into_iter().map(RawValue::from_string).collect::<Result<_, _>>();
    let items = items.map_err(|error| Failure::internal(&error))?;
    Ok(Json(GatewayPage { items, total: page.total, limit, offset }))
}
