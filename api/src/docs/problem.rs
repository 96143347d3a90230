//! `GET /problems/{code}`.

use axum::response::{Html, IntoResponse, Response};
use shared::problem::Problem;

use crate::{
    parameters::Segment,
    problem::{Failure, codes},
};

/// Explains a problem code: what it means and what to do.
#[utoipa::path(
    get, path = "/problems/{code}", operation_id = "getProblem", tag = "documentation", security(),
    params(("code" = String, Path, description = "As in `code` of a problem document")),
    responses(
        (status = 200, description = "The explanation", body = String, content_type = "text/html"),
        (status = 404, description = "There is no such code", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn problem(Segment(code): Segment) -> Result<Response, Failure> {
    let unknown = || {
        let known: Vec<&str> = codes::ALL.iter().map(|entry| entry.code).collect();
        Failure::new(
            &codes::NOT_FOUND,
            format!("There is no such problem code; known are: {}.", known.join(", ")),
        )
    };
    let entry = codes::find(&code).ok_or_else(unknown)?;
    // Everything in the table is our own text without markup.
    let codes::Entry { code, status, title, meaning, action } = entry;
    Ok(Html(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{code}</title></head>\n\
         <body><h1>{title}</h1>\n<p><code>{code}</code>, HTTP {status}</p>\n<h2>What happened</h2>\n<p>{meaning}</p>\n\
         <h2>What to do</h2>\n<p>{action}</p>\n</body></html>\n"
    ))
    .into_response())
}
