//! `/healthz`, `/readyz` and `/metrics` of a worker.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    routing::get,
};
use serde_json::{Value, json};
use shared::{
    chain::chain,
    scrape::{CONTENT_TYPE, Scrape},
    store::Store,
};

/// Most that a readiness check takes.
const READY_LIMIT: Duration = Duration::from_secs(3);

/// Serves until the process ends. If the address is taken it says so and does nothing: jobs matter more.
pub async fn serve(address: SocketAddr, store: Arc<dyn Store>, metrics: Scrape) {
    let metrics = Arc::new(metrics);
    let page = async move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.page().await);
    let router = Router::new()
        .route("/healthz", get(async || Json(json!({"status": "ok"}))))
        .route("/readyz", get(ready))
        .route("/metrics", get(page))
        .with_state(store);
    match tokio::net::TcpListener::bind(address).await {
        Ok(listener) => {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(error = chain(&error), "the worker's health is no longer served");
            }
        }
        Err(error) => {
            tracing::warn!(%address, error = chain(&error), "the worker's health is not served; set WORKER_LISTEN_ADDR");
        }
    }
}

async fn ready(State(store): State<Arc<dyn Store>>) -> (StatusCode, Json<Value>) {
    match tokio::time::timeout(READY_LIMIT, store.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, Json(json!({"status": "ok"}))),
        Ok(Err(_)) | Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "the database does not answer"})))
        }
    }
}
