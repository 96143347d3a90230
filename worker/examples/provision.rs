//! Provisions a real gateway by hand: `provision <url> <token> <workspace root> [probe|twice|remove|ui]`.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use shared::{
    domain::gateway::patience::Patience,
    ids::{AgentId, GatewayId, OperationId},
    secret::Secret,
};
use worker::gateway::{
    Dialer,
    handshake::Mode,
    identity::DeviceIdentity,
    limits::Limits,
    policy::{AddressPolicy, SystemResolver},
    probe::probe,
    provision::{Order, provision},
    remove::remove_agent,
    tls::Certificate,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, token, workspace_root, rest @ ..] = arguments.as_slice() else {
        return Err("provision <url> <token> <workspace root> [probe|twice|remove|ui]".into());
    };
    let has = |flag: &str| rest.iter().any(|given| given == flag);
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
    let dialer = Dialer {
        policy: AddressPolicy::default(),
        resolver: Arc::new(SystemResolver),
        identity: DeviceIdentity::from_seed(&[7; 32]),
        limits: Limits::default(),
        progress: worker::gateway::Progress::default(),
        tenure: worker::gateway::tenure::Tenure::unlimited(),
    };
    let mode = if has("ui") { Mode::ControlUi } else { Mode::Device };
    let order = Order {
        gateway_id: GatewayId::mint(at),
        operation: OperationId::mint(at),
        name: "Production \"Gateway\" of the example company".to_owned(),
        url: url.parse()?,
        workspace_root: workspace_root.clone(),
        device_token: None,
        token: Some(Secret::new(token.clone())).filter(|token| !token.expose().is_empty()),
        allow_insecure_tls: has("insecure"),
        disable_device_pairing: mode == Mode::ControlUi,
        agent_id: AgentId::mint(at),
        agent_token: Secret::from("mca_example"),
        base_url: "http://127.0.0.1:8000".to_owned(),
        heartbeat_every: Some(Duration::from_mins(30)),
        minimum_version: "2026.02.9".parse()?,
        templates: std::sync::Arc::default(),
        patience: Patience::Waiting,
        agent_may_exist: false,
    };
    if has("probe") {
        let connection = (Certificate::Checked, mode);
        let result =
            probe(&dialer, &order.url, order.token.as_ref(), connection, &order.minimum_version).await;
        print(&json!(result.map_err(|failure| json!(failure))));
        return Ok(());
    }
    for _ in 0..if has("twice") { 2 } else { 1 } {
        let started = std::time::Instant::now();
        let outcome = match provision(&dialer, &order).await {
            Ok(provisioned) => json!({"provisioned": provisioned}),
            Err(failed) => json!({"failure": failed.failure, "agent": failed.agent, "dials": failed.dials,
                "retry_after_ms": failed.retry_after.map(|wait| wait.as_secs())}),
        };
        print(&json!({"ms": started.elapsed().as_secs_f64() * 1000.0, "outcome": outcome}));
    }
    if has("remove") {
        let removed = remove_agent(&dialer, &order).await;
        print(&json!({"removed": removed.map(|removed| removed.found).map_err(|failure| json!(failure))}));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a command-line example")]
fn print(value: &serde_json::Value) {
    println!("{value:#}");
}
