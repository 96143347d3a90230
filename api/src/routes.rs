//! The one table of routes.

use axum::{
    Router,
    http::{Method, Uri},
    middleware,
    response::{IntoResponse as _, Response},
};
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    agents, docs, events, gateways, health, operations,
    problem::{Failure, codes},
    rates, request,
    state::App,
};

fn table() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(docs::base())
        .routes(routes!(gateways::create::create, gateways::list::list))
        .routes(routes!(gateways::get::get, gateways::update::update, gateways::remove::remove))
        .routes(routes!(gateways::retry::retry))
        .routes(routes!(gateways::status::status))
        .routes(routes!(gateways::sync_templates::sync))
        .routes(routes!(gateways::events::events))
        .routes(routes!(operations::list::list))
        .routes(routes!(operations::get::get))
        .routes(routes!(operations::cancel::cancel))
        .routes(routes!(events::list::list))
        .routes(routes!(events::stream::stream))
        .routes(routes!(events::get::get))
        .routes(routes!(agents::list::list))
        .routes(routes!(agents::get::get))
        .routes(routes!(agents::heartbeat::heartbeat))
        .routes(routes!(agents::healthz::healthz))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(docs::problem::problem))
        .routes(routes!(docs::document::document))
        .routes(routes!(docs::reader::find))
        .routes(routes!(docs::reader::page))
        .routes(routes!(docs::reader::part))
}

/// The OpenAPI document, generated from the handlers.
#[must_use]
pub fn openapi() -> OpenApi {
    let mut document = table().split_for_parts().1;
    docs::complete::complete(&mut document);
    document
}

/// Everything that is served.
pub fn router(app: App) -> Router {
    let (router, _) = table().split_for_parts();
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.guard.limiter.clone(), rates::around))
        .layer(option_layer(app.guard.cors()))
        .layer(middleware::from_fn(request::around))
        .with_state(app)
}

async fn not_found(uri: Uri) -> Failure {
    let shown: String = uri.path().chars().take(200).collect();
    Failure::new(&codes::NOT_FOUND, format!("There is nothing at {shown}; /docs shows what there is."))
}

async fn method_not_allowed(method: Method) -> Failure {
    Failure::new(
        &codes::METHOD_NOT_ALLOWED,
        format!("{method} is not allowed here; the Allow header names what is."),
    )
}

#[expect(clippy::needless_pass_by_value, reason = "the layer sets the signature")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("no message"), "a request panicked");
    let detail = "Something broke on our side. Tell the operator the `request_id`.";
    Failure::new(&codes::INTERNAL_ERROR, detail).into_response()
}
