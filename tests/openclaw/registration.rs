//! How a test registers a gateway: the one place that knows by which way.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use harness::openclaw::{Gateway, Proxy};
use shared::{
    clock::{Clock as _, SystemClock},
    domain::gateway::{failure::Failure, patience::Patience},
    ids::{AgentId, GatewayId, OperationId},
    secret::Secret,
    token,
};
use worker::gateway::{
    Dialer,
    identity::DeviceIdentity,
    limits::Limits,
    policy::{AddressPolicy, SystemResolver},
    provision::{Order, provision},
    remove::remove_agent,
};

/// Where the agents are told to check in.
pub(crate) const BASE_URL: &str = "http://127.0.0.1:8000";

/// What a person posts.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) token: Option<String>,
    pub(crate) workspace_root: String,
    pub(crate) allow_insecure_tls: bool,
    pub(crate) disable_device_pairing: bool,
    pub(crate) patience: Patience,
}

impl Registration {
    /// Through the proxy, with what the gateway asks for.
    pub(crate) fn of(gateway: &Gateway, proxy: &Proxy) -> Self {
        Self {
            name: "Ring \"gateway\"".to_owned(),
            url: proxy.url().to_owned(),
            token: gateway.secret().map(ToOwned::to_owned),
            workspace_root: gateway.workspace_root().display().to_string(),
            allow_insecure_tls: gateway.options().tls,
            disable_device_pairing: false,
            patience: Patience::Waiting,
        }
    }
}

/// A gateway that is registered.
#[derive(Debug)]
pub(crate) struct Registered {
    /// `agent-<ULID>`, as Mission Control writes it.
    pub(crate) agent_id: String,
    pub(crate) runtime_version: String,
    pub(crate) took: Duration,
    order: Order,
}

impl Registered {
    /// The id as gateways hold it.
    pub(crate) fn on_gateway(&self) -> String {
        self.agent_id.to_ascii_lowercase()
    }
}

/// One installation: one device for all tests.
static DIALER: LazyLock<Dialer> = LazyLock::new(|| Dialer {
    policy: AddressPolicy::default(),
    resolver: Arc::new(SystemResolver),
    identity: DeviceIdentity::from_seed(&[7; 32]),
    limits: Limits::default(),
    progress: worker::gateway::Progress::default(),
});

/// Registers it and waits for the outcome.
pub(crate) async fn register(registration: &Registration) -> Result<Registered, Failure> {
    let order = order(registration);
    let started = Instant::now();
    let provisioned = provision(&DIALER, &order).await.map_err(|failed| failed.failure)?;
    Ok(Registered {
        agent_id: order.agent_id.to_string(),
        runtime_version: provisioned.verified.runtime_version,
        took: started.elapsed(),
        order,
    })
}

/// Takes it away again.
pub(crate) async fn remove(registered: &Registered) -> Result<(), Failure> {
    remove_agent(&DIALER, &registered.order)
        .await
        .map(|removed| assert!(removed.found, "the agent was there"))
}

fn order(registration: &Registration) -> Order {
    let at = SystemClock.now();
    Order {
        gateway_id: GatewayId::mint(at),
        operation: OperationId::mint(at),
        name: registration.name.clone(),
        url: registration.url.parse().expect("a valid URL"),
        workspace_root: registration.workspace_root.clone(),
        token: registration.token.clone().map(Secret::new),
        allow_insecure_tls: registration.allow_insecure_tls,
        disable_device_pairing: registration.disable_device_pairing,
        agent_id: AgentId::mint(at),
        agent_token: token::agent(),
        base_url: BASE_URL.to_owned(),
        heartbeat_every: Some(Duration::from_mins(30)),
        minimum_version: "2026.02.9".parse().expect("a valid version"),
        templates: std::sync::Arc::default(),
        patience: registration.patience,
        agent_may_exist: false,
    }
}
