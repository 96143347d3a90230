//! `GET /docs/`: shows `/openapi.json` to people; everything it loads comes from here, so it works offline.

use std::sync::{Arc, LazyLock};

use axum::{
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use shared::problem::Problem;
use utoipa_swagger_ui::Config;

use crate::{
    parameters::Segment,
    problem::{Failure, codes},
};

// Without `none` the reader would ask a validator on the internet.
static CONFIG: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::from("/openapi.json").validator_url("none")));

/// Leads to the reader.
#[utoipa::path(
    get, path = "/docs", operation_id = "findReader", tag = "documentation", security(),
    responses((status = 303, description = "The reader is at `/docs/`", headers(("Location" = String)))),
)]
pub(crate) async fn find() -> Redirect {
    Redirect::to("/docs/")
}

/// Shows this document to people.
#[utoipa::path(
    get, path = "/docs/", operation_id = "getReader", tag = "documentation", security(),
    responses((status = 200, description = "The reader", body = String, content_type = "text/html")),
)]
pub(crate) async fn page() -> Result<Response, Failure> {
    file("index.html")
}

/// What the reader consists of.
#[utoipa::path(
    get, path = "/docs/{file}", operation_id = "getReaderFile", tag = "documentation", security(),
    params(("file" = String, Path, description = "A name that the reader knows")),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/html"), (String = "text/css"), (String = "text/javascript"), (String = "application/json"),
            (String = "image/png"),
        )),
        (status = 404, description = "There is no such file", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn part(Segment(name): Segment) -> Result<Response, Failure> {
    file(&name)
}

fn file(name: &str) -> Result<Response, Failure> {
    let found = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG));
    let found = found.map_err(|error| Failure::internal(error.as_ref()))?;
    let nothing = || Failure::new(&codes::NOT_FOUND, "The reader of /docs/ has no such file.");
    let file = found.ok_or_else(nothing)?;
    let mut response = ([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response();
    if file.gzpipped {
        let encoding = header::HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
    }
    Ok(response)
}
