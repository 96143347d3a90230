//! A strict fake OpenClaw gateway on a real loopback socket.
//!
//! It refuses what the real gateways of each version refuse, in their words,
//! and can be told to misbehave with [`Fault`]s. `tests/fake_gateway/main.rs`
//! proves it against recordings of real gateways. It runs no agent.

mod agents;
mod calls;
mod config;
mod connection;
mod cron;
mod fault;
mod handshake;
mod heartbeat;
mod hold;
mod methods;
mod options;
mod patch;
mod read;
mod refusal;
mod restart;
mod schema;
mod server;
mod sessions;
mod state;
mod version;

use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use fault::Fault;
pub use hold::HoldGuard;
pub use options::{Challenge, ControlUi, Options};
pub use state::Agent;
pub use version::Version;

use fault::Faults;
use server::{Door, Shared};

/// A running gateway; dropping it stops it and closes its connections.
#[derive(Debug)]
pub struct FakeGateway {
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl FakeGateway {
    /// Starts on a free port.
    ///
    /// # Panics
    /// When loopback cannot be bound, or for 2026.2.9 without a token, which
    /// the real one refuses to start with.
    pub async fn start(options: Options) -> Self {
        Self::start_on(0, options).await
    }

    /// Starts on the port; 0 takes a free one.
    ///
    /// # Panics
    /// As [`FakeGateway::start`], and when the port is taken.
    pub async fn start_on(port: u16, options: Options) -> Self {
        assert!(
            options.version != Version::V2026_2_9 || options.token.is_some() || options.password.is_some(),
            "2026.2.9 has no mode without a secret"
        );
        // It may close its port for a while and must have it back.
        let port = if port == 0 { crate::ports::free_port() } else { port };
        let listener = TcpListener::bind((options.address, port)).await.expect("its port can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared::new(options, port));
        let server = tokio::spawn(server::serve(Arc::clone(&shared), listener));
        Self { shared, server }
    }

    /// `ws://127.0.0.1:port`, or `wss://` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.shared.options.tls { "wss" } else { "ws" };
        format!("{scheme}://127.0.0.1:{}", self.shared.port)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// TCP connections accepted, whatever became of them.
    #[must_use]
    pub fn dials(&self) -> usize {
        self.shared.state().dials
    }

    /// Handshakes that ended in hello-ok.
    #[must_use]
    pub fn connects(&self) -> usize {
        self.shared.state().connects
    }

    /// Restarts begun.
    #[must_use]
    pub fn restarts(&self) -> usize {
        self.shared.state().restarts
    }

    /// Connections that a restart closed before an agent was woken over them: who has woken one need not come back.
    #[must_use]
    pub fn connections_cut(&self) -> usize {
        self.shared.state().connections_cut
    }

    /// Upgrades answered 503 because it was restarting.
    #[must_use]
    pub fn upgrades_refused(&self) -> usize {
        self.shared.state().upgrades_refused
    }

    /// Path and instant of every request to upgrade, in the order of arrival.
    #[must_use]
    pub fn upgrades(&self) -> Vec<(String, std::time::Instant)> {
        self.shared.state().upgrades.clone()
    }

    /// Connects refused for a wrong or missing secret, or while locked out.
    #[must_use]
    pub fn rejected_tokens(&self) -> usize {
        self.shared.state().rejected_tokens
    }

    /// Connections that are open after hello-ok.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.pushes.receiver_count()
    }

    /// The most connections that were open after hello-ok at one moment.
    #[must_use]
    pub fn open_at_most(&self) -> usize {
        self.shared.state().open_most
    }

    /// Patches of the configuration that came too often.
    #[must_use]
    pub fn patches_refused(&self) -> usize {
        self.shared.state().patches_refused
    }

    /// Every call after hello in the order of arrival: method and params.
    #[must_use]
    pub fn calls(&self) -> Vec<(String, Value)> {
        self.shared.state().calls.clone()
    }

    /// The agents in the configuration, `main` included once it is listed there.
    #[must_use]
    pub fn agents(&self) -> Vec<Agent> {
        self.shared.state().agents()
    }

    /// The configuration as written, secrets included.
    #[must_use]
    pub fn config(&self) -> Value {
        self.shared.state().config.clone()
    }

    /// The label of the session, if it has one.
    #[must_use]
    pub fn session_label(&self, key: &str) -> Option<String> {
        self.shared.state().sessions.get(key).and_then(|session| session.label.clone())
    }

    /// What `chat.send` took, once per idempotency key: session key and message.
    #[must_use]
    pub fn messages(&self) -> Vec<(String, String)> {
        self.shared.state().messages.clone()
    }

    /// The cron jobs, as `cron.add` stored them.
    #[must_use]
    pub fn cron_jobs(&self) -> Vec<Value> {
        self.shared.state().cron.clone()
    }

    /// How often the agent wakes by itself; `None` is never. If any entry has
    /// a `heartbeat` only such entries beat, else only the default agent does.
    #[must_use]
    pub fn effective_heartbeat(&self, agent_id: &str) -> Option<String> {
        heartbeat::effective(self.shared.options.version, &self.shared.state().config, agent_id)
    }

    /// Replaces the faults, with all strikes unspent.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.shared.state().faults = Faults::new(faults);
    }

    /// Approves every device that waits for it.
    pub fn approve_pairing(&self) {
        self.shared.state().faults.approve_pairing();
    }

    /// Forgets every paired device and the token it was issued, as `devices remove` does.
    pub fn forget_devices(&self) {
        let mut state = self.shared.state();
        state.paired.clear();
        state.device_tokens.clear();
    }

    /// Writes the configuration behind everybody's back, as a person would.
    pub fn edit_config(&self, edit: impl FnOnce(&mut Value)) {
        edit(&mut self.shared.state().config);
    }

    /// Writes a file of an agent, as the agent itself would.
    pub fn write_file(&self, agent_id: &str, name: &str, content: &str) {
        let mut state = self.shared.state();
        let files = state.files.entry(agent_id.to_owned()).or_default();
        files.insert(name.to_owned(), content.to_owned());
    }

    /// Calls of the method wait until the guard is dropped.
    #[must_use]
    pub fn hold(&self, method: &str) -> HoldGuard {
        self.shared.holds.add(method)
    }

    /// Closes the port (`true`) so that dials are refused, or opens it again.
    /// Open connections stay.
    pub fn refuse_dials(&self, refused: bool) {
        let door = if refused { Door::Refusing } else { Door::Open };
        self.shared.door.send_replace(door);
    }

    /// Restarts it now, away for `down`: `shutdown` event, 1012, then 503.
    pub async fn restart(&self, down: std::time::Duration) {
        restart::run(Arc::clone(&self.shared), std::time::Duration::ZERO, down).await;
    }

    /// Waits until every restart that an answered call brought about is over.
    pub async fn settled(&self) {
        let mut ordered = self.shared.ordered.subscribe();
        drop(ordered.wait_for(|ordered| *ordered == 0).await);
    }

    /// Stops it and waits until the port is free.
    pub async fn stop(mut self) {
        self.server.abort();
        drop((&mut self.server).await);
    }
}

impl Drop for FakeGateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}
