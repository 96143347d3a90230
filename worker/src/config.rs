//! What a worker needs to know, beside the store.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::{Parser, Subcommand};
use shared::{
    clock::Clock,
    config::{Place, Work},
    domain::gateway::version::Version,
    install::device_seed,
    store::{Store, insist},
    vault::{Vault, VaultError},
};

use crate::{
    agent::sources::{Sources, TemplateError},
    gateway::{
        Dialer, Progress,
        identity::DeviceIdentity,
        limits::Limits,
        policy::{AddressPolicy, SystemResolver},
        tenure::Tenure,
    },
    probe::Probe,
};

/// Runs the jobs of Mission Control: dials gateways and provisions their main agents.
#[derive(Debug, Parser)]
#[command(name = "mission-control-worker", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// Where everything is kept.
    #[command(flatten)]
    pub place: Place,
    /// How it works.
    #[command(flatten)]
    pub work: Work,
    /// Where `/healthz`, `/readyz` and `/metrics` of this worker are served.
    #[arg(long, env = "WORKER_LISTEN_ADDR", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// Something else than running jobs.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  DATABASE_URL=postgres://… mission-control-worker --concurrency 64
  mission-control-worker probe ws://gateway-host:18789
  mission-control-worker probe wss://gateway.example.com --token-stdin --json < token";

/// Something else than running jobs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell, stage by stage, whether a gateway can be used, and why not. Writes nothing on it.
    Probe(Probe),
}

/// How often and how long an agent that does not call is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wakes {
    /// Wakes after the first message, each a model run on the gateway; 0: nobody waits for a check-in.
    pub most: u32,
    /// How long a check-in is waited for after each.
    pub wait: Duration,
}

impl Default for Wakes {
    /// Nobody waits.
    fn default() -> Self {
        Self { most: 0, wait: Duration::from_secs(30) }
    }
}

/// The numbers and texts of a worker (DESIGN.md §5 and §6).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Unique per process; stored with leases and events.
    pub worker_id: String,
    /// Most jobs at once.
    pub concurrency: u32,
    /// How long a lease is.
    pub lease: Duration,
    /// How often leases are renewed.
    pub renew_every: Duration,
    /// How long a person has to approve our device on a gateway.
    pub pairing_wait: Duration,
    /// How often it looks for what waits without a job.
    pub sweep_every: Duration,
    /// Where agents reach the API.
    pub base_url: String,
    /// How often an agent checks in; `None` writes no heartbeat.
    pub heartbeat_every: Option<Duration>,
    /// How often a registered gateway is probed; `None` for never.
    pub monitor_every: Option<Duration>,
    /// How an agent that does not call is woken.
    pub wakes: Wakes,
    /// The lowest gateway version that is taken.
    pub minimum_version: Version,
    /// The text of the agents' files.
    pub templates: Arc<Sources>,
    /// How long running jobs may take to end after a stop was asked for.
    pub shutdown: Duration,
}

impl Settings {
    /// The defaults, for a process of this name.
    #[must_use]
    pub fn new(worker_id: String, base_url: String, minimum_version: Version) -> Self {
        Self {
            worker_id,
            concurrency: 256,
            lease: Duration::from_secs(8),
            renew_every: Duration::from_millis(2_500),
            pairing_wait: Duration::from_mins(15),
            sweep_every: crate::sweep::EVERY,
            base_url,
            heartbeat_every: Some(Duration::from_mins(30)),
            monitor_every: None,
            wakes: Wakes::default(),
            minimum_version,
            templates: Arc::default(),
            shutdown: Duration::from_secs(20),
        }
    }
}

/// Why a worker cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A secret of the installation cannot be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The operator's templates are wrong.
    #[error(transparent)]
    Templates(#[from] TemplateError),
}

/// What every job works with.
#[derive(Clone)]
pub struct Deps {
    /// The log, the queue and the sealed secrets.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Opens sealed secrets.
    pub vault: Arc<Vault>,
    /// Dials gateways.
    pub dialer: Dialer,
    /// Numbers and texts.
    pub settings: Settings,
}

impl Deps {
    /// What follows from the settings of a program. `kind` begins the worker's name; `listeners` are our own, never
    /// dialled. Waits for a database that is away.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the templates are wrong, or the installation's device key cannot be opened.
    pub async fn of(
        work: &Work,
        (store, clock, vault): (Arc<dyn Store>, Arc<dyn Clock>, Arc<Vault>),
        kind: &str,
        listeners: Vec<SocketAddr>,
    ) -> Result<Self, StartError> {
        let templates = work.templates_dir.as_deref().map(Sources::read).transpose()?.unwrap_or_default();
        let seed = insist(|| device_seed(store.as_ref(), &vault), VaultError::is_away).await?;
        let dialer = dialer(work, DeviceIdentity::from_seed(&seed), listeners);
        let worker_id = format!("{kind}-{}-{}", std::process::id(), shared::ids::uuid_v7(clock.now()));
        let settings = Settings {
            concurrency: work.concurrency,
            templates: Arc::new(templates),
            heartbeat_every: Some(work.agent_heartbeat_every).filter(|every| !every.is_zero()),
            monitor_every: Some(work.monitor_interval).filter(|every| !every.is_zero()),
            wakes: Wakes { most: work.wake_attempts, wait: work.check_in_wait },
            shutdown: work.shutdown_timeout,
            ..Settings::new(worker_id, work.base_url.clone(), work.gateway_min_version.clone())
        };
        Ok(Self { store, clock, vault, dialer, settings })
    }

    /// The same, for a job whose lease this is.
    #[must_use]
    pub fn under(&self, tenure: Tenure) -> Self {
        Self { dialer: Dialer { tenure, ..self.dialer.clone() }, ..self.clone() }
    }
}

/// Dials as the settings allow it.
#[must_use]
pub fn dialer(work: &Work, identity: DeviceIdentity, own_listeners: Vec<SocketAddr>) -> Dialer {
    let policy = AddressPolicy {
        allow_private: work.allow_private_addresses,
        deny: work.deny_addresses.clone(),
        allow: work.allow_addresses.clone(),
        own_listeners,
    };
    Dialer {
        policy,
        resolver: Arc::new(SystemResolver),
        identity,
        limits: Limits::default(),
        progress: Progress::default(),
        tenure: Tenure::unlimited(),
    }
}

impl std::fmt::Debug for Deps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deps").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
