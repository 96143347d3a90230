//! A whole installation in one process: real router on a real socket, real worker, real database.

mod answer;
mod audit;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use api::{
    agents::beats::Beats,
    guard::Guard,
    state::{App, Limits as ApiLimits, Looks, Prepared},
};
use serde_json::{Value, json};
use shared::{
    clock::{Clock, SystemClock},
    domain::organization::{Command, Member, Role, Token},
    ids::{MemberId, OrganizationId, TokenId},
    install::{device_seed, found, manage},
    secret::Secret,
    store::Store,
    token,
    vault::Vault,
    watch::Waiters,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use worker::{
    config::{Deps, Settings, Wakes},
    gateway::{
        Dialer,
        identity::DeviceIdentity,
        limits::Limits,
        policy::{AddressPolicy, Resolver, SystemResolver},
    },
};

pub use answer::Answer;
pub use audit::{audit, idle, log};

use crate::fake_gateway::FakeGateway;

/// How an installation is set up; the default is DESIGN.md §6.
#[derive(Clone)]
pub struct Setup {
    /// Time-outs of the gateway side.
    pub limits: Limits,
    /// Numbers of the API.
    pub api: ApiLimits,
    /// Limits of callers; none by default.
    pub guard: Guard,
    /// Clients that may wait.
    pub waiting_max: usize,
    /// Which addresses may be dialled; our own listener is added.
    pub policy: AddressPolicy,
    /// Turns names into addresses.
    pub resolver: Arc<dyn Resolver>,
    /// Whether a worker runs.
    pub worker: bool,
    /// Jobs at once.
    pub concurrency: u32,
    /// How long a person has to approve our device.
    pub pairing_wait: Duration,
    /// How often registered gateways are probed; `None`, the default here, for never.
    pub monitor_every: Option<Duration>,
    /// How an agent that does not call is woken; by default nobody waits for it here.
    pub wakes: Wakes,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            api: ApiLimits::default(),
            guard: Guard::default(),
            waiting_max: 10_000,
            policy: AddressPolicy::default(),
            resolver: Arc::new(SystemResolver),
            worker: true,
            concurrency: 256,
            pairing_wait: Duration::from_mins(15),
            monitor_every: None,
            wakes: Wakes::default(),
        }
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// A running installation with one organization and its owner.
#[derive(Debug)]
pub struct World {
    /// Where the API listens.
    pub address: SocketAddr,
    /// The store, for looking behind the API.
    pub store: Arc<dyn Store>,
    /// The master key.
    pub vault: Arc<Vault>,
    /// What every handler works with.
    pub app: App,
    /// The organization.
    pub organization: OrganizationId,
    /// The owner's token.
    pub owner: Secret,
    /// For requests.
    pub http: reqwest::Client,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    /// Starts on an empty store with the defaults.
    pub async fn start(store: Arc<dyn Store>) -> Self {
        Self::with(store, Setup::default()).await
    }

    /// Starts on an empty store.
    ///
    /// # Panics
    ///
    /// If loopback or the store cannot be used.
    pub async fn with(store: Arc<dyn Store>, setup: Setup) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let vault = Arc::new(Vault::new(&[7; 32]));
        let owner = token::api();
        found(store.as_ref(), clock.as_ref(), &owner).await.expect("an empty store is founded");
        let organization = store.organizations().await.expect("organizations are listed").remove(0).id;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stop = CancellationToken::new();
        let waiters = Waiters::new(setup.waiting_max);
        let mut tasks = vec![tokio::spawn(waiters.clone().tail(Arc::clone(&store)))];
        let app = App {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            vault: Arc::clone(&vault),
            waiters,
            looks: Looks::default(),
            beats: Beats::default(),
            guard: setup.guard.clone(),
            limits: setup.api.clone(),
            metrics: None,
            prepared: Prepared::default(),
            stop: stop.clone(),
        };
        app.prepared.set();
        let serving = api::serve::serve(
            listener,
            api::routes::router(app.clone()),
            stop.clone(),
            Duration::from_secs(1),
        );
        tasks.push(tokio::spawn(serving));
        if setup.worker {
            let deps = deps(&store, &clock, &vault, (&setup, address)).await;
            let stop = stop.clone();
            tasks.push(tokio::spawn(async move {
                worker::jobs::run(deps, stop).await.expect("the worker ends when it is told to");
            }));
        }
        Self { address, store, vault, app, organization, owner, http: client(), stop, tasks }
    }

    /// Stops everything and waits until it has ended.
    ///
    /// # Panics
    ///
    /// If a part of the installation panicked.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        // The tailer runs until it is dropped.
        self.tasks.remove(0).abort();
        for task in self.tasks.drain(..) {
            task.await.expect("no part of the installation panicked");
        }
    }

    /// `http://127.0.0.1:port` and a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// GET as the owner.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(self.url(path)).bearer_auth(self.owner.expose())).await
    }

    /// POST of a gateway as the owner.
    pub async fn post(&self, body: &Value) -> Answer {
        Answer::of(self.request(body)).await
    }

    /// POST of a gateway as the owner, with headers.
    pub async fn post_with(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let request =
            headers.iter().fold(self.request(body), |request, (name, value)| request.header(*name, *value));
        Answer::of(request).await
    }

    /// A JSON body to a path as the owner, with headers.
    pub async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let request = self.http.request(method, self.url(path)).bearer_auth(self.owner.expose()).json(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request).await
    }

    fn request(&self, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(self.url("/api/v1/gateways")).bearer_auth(self.owner.expose()).json(body)
    }

    /// Long-polls an operation until it has ended.
    ///
    /// # Panics
    ///
    /// If it has not ended after two minutes.
    pub async fn outcome(&self, location: &str) -> Answer {
        for _ in 0..60 {
            let request = self.http.get(self.url(location)).bearer_auth(self.owner.expose());
            let answer = Answer::of(request.header("Prefer", "wait=2")).await;
            let status = answer.json["status"].as_str().unwrap_or_default();
            if ["succeeded", "failed", "cancelled"].contains(&status) {
                return answer;
            }
        }
        panic!("{location} has not ended after two minutes");
    }

    /// A token of a new member with this role.
    ///
    /// # Panics
    ///
    /// If the store fails.
    pub async fn member(&self, role: Role) -> Secret {
        let clock = SystemClock;
        let (member, secret) = (MemberId::mint(clock.now()), token::api());
        let issued = Token {
            token: TokenId::mint(clock.now()),
            member: Some(member),
            role: None,
            operator: false,
            expires_at: None,
        };
        let orders = vec![
            Command::AddMember(Member { member, name: "somebody".to_owned(), role }),
            Command::IssueToken(issued),
        ];
        let done = manage(self.store.as_ref(), &clock, Some(self.organization), orders, Some(&secret)).await;
        done.expect("a member is added");
        secret
    }
}

/// What the worker of an installation needs.
///
/// # Panics
///
/// If the store fails.
pub async fn deps(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    vault: &Arc<Vault>,
    (setup, listener): (&Setup, SocketAddr),
) -> Deps {
    let seed = device_seed(store.as_ref(), vault).await.expect("the device key is kept");
    let mut policy = setup.policy.clone();
    policy.own_listeners.push(listener);
    let dialer = Dialer {
        policy,
        resolver: Arc::clone(&setup.resolver),
        identity: DeviceIdentity::from_seed(&seed),
        limits: setup.limits.clone(),
        progress: worker::gateway::Progress::default(),
        tenure: worker::gateway::tenure::Tenure::unlimited(),
    };
    let minimum = "2026.02.9".parse().expect("the minimum is a version");
    let id = format!("test-{}", uuid::Uuid::new_v4());
    let settings = Settings {
        concurrency: setup.concurrency,
        pairing_wait: setup.pairing_wait,
        monitor_every: setup.monitor_every,
        wakes: setup.wakes,
        shutdown: Duration::from_secs(5),
        ..Settings::new(id, format!("http://{listener}"), minimum)
    };
    Deps { store: Arc::clone(store), clock: Arc::clone(clock), vault: Arc::clone(vault), dialer, settings }
}

fn client() -> reqwest::Client {
    let limit = Duration::from_secs(90);
    reqwest::Client::builder().timeout(limit).no_proxy().build().expect("an HTTP client can be made")
}

/// The body that registers this gateway.
#[must_use]
pub fn body(gateway: &FakeGateway) -> Value {
    json!({
        "name": "Production Gateway",
        "url": gateway.url(),
        "workspace_root": "/home/ubuntu/.openclaw/workspaces",
        "token": "gateway-token",
    })
}
