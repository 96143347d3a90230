//! POST of gateways that answer at once, each one waited for.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    http::Http,
    numbers::{Times, repeat, rounds},
    processes::Server,
};

/// The body that registers a gateway; each path is a gateway of its own to the service.
pub(crate) fn body(gateway: &str, path: &str) -> Value {
    json!({
        "name": "Production Gateway",
        "url": format!("{gateway}/{path}"),
        "workspace_root": "/home/ubuntu/.openclaw/workspaces",
        "token": "gateway-token",
    })
}

/// So many clients, each on one connection and each waiting for its answer before it asks again.
pub(crate) async fn create(server: &Server, gateway: &str, clients: usize, time: Duration) -> Times {
    let run = uuid::Uuid::new_v4().simple().to_string();
    repeat(clients, time, |client| {
        let prefix = format!("{run}/{client}");
        let gateway = gateway.to_owned();
        let (address, token) = (server.address, server.token.clone());
        async move {
            let http = Http::connect(address, &token).await.expect("the server takes connections");
            let http = tokio::sync::Mutex::new(http);
            rounds(time, |round| {
                let body = body(&gateway, &format!("{prefix}/{round}"));
                let http = &http;
                async move {
                    let (status, answer) = http.lock().await.post("/api/v1/gateways", "", &body).await;
                    assert_eq!(status, 200, "{answer}");
                }
            })
            .await
        }
    })
    .await
}
