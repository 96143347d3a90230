//! `GET /openapi.json`.

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};

use crate::problem::Failure;

/// Made once; `None` if it cannot be written as JSON, which a test excludes.
static DOCUMENT: LazyLock<Option<Bytes>> =
    LazyLock::new(|| serde_json::to_vec(&crate::routes::openapi()).ok().map(Bytes::from));

/// The document that describes this API (OpenAPI 3.1).
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getOpenApi", tag = "documentation", security(),
    responses((status = 200, description = "The document", body = Object, content_type = "application/json")),
)]
pub(crate) async fn document() -> Result<Response, Failure> {
    let document = DOCUMENT.clone().ok_or_else(|| Failure::internal(&std::fmt::Error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}
