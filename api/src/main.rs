//! `mission-control`: the server and the operator's command line. The only place where `api` names `worker`.

use std::{process::ExitCode, sync::Arc};

use api::{
    config::{Cli, Command, Serve},
    ops,
    serve::{self, Started},
};
use clap::Parser as _;
use shared::{clock::SystemClock, install::device_seed, telemetry};
use worker::{
    config::{Deps, Settings},
    gateway::{
        Dialer,
        identity::DeviceIdentity,
        limits::Limits,
        policy::{AddressPolicy, SystemResolver},
    },
    jobs,
};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(error.as_ref());
            ExitCode::from(2)
        }
    }
}

async fn run(cli: Cli) -> Result<u8, Box<dyn std::error::Error>> {
    telemetry::start_logs(cli.place.format(), &cli.place.log_filter)?;
    // One provider for every TLS connection of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = SystemClock;
    let store = match &cli.command {
        Command::Serve(settings) => {
            let metrics = telemetry::start_metrics()?;
            serve::run(&cli.place, settings, metrics, |started| work(settings, started)).await?;
            return Ok(0);
        }
        Command::Organization(_) | Command::Member(_) | Command::Token(_) | Command::Events(_) => {
            ops::open(&cli.place).await?
        }
    };
    let code = match cli.command {
        Command::Serve(_) => 0,
        Command::Organization(command) => ops::organization::run(store.as_ref(), &clock, command).await?,
        Command::Member(command) => ops::organization::run_member(store.as_ref(), &clock, command).await?,
        Command::Token(command) => ops::token::run(store.as_ref(), &clock, command).await?,
        Command::Events(command) => ops::events::run(store.as_ref(), &command).await?,
    };
    store.close().await;
    Ok(code)
}

async fn work(serve: &Serve, started: Started) -> std::io::Result<()> {
    let Started { store, clock, vault, listener, stop } = started;
    let seed = device_seed(store.as_ref(), &vault).await.map_err(std::io::Error::other)?;
    // One process per file: whatever was leased was leased to a predecessor that is gone.
    store.void_leases().await.map_err(std::io::Error::other)?;
    let policy = AddressPolicy {
        allow_private: serve.allow_private_addresses,
        deny: serve.deny_addresses.clone(),
        allow: serve.allow_addresses.clone(),
        own_listeners: vec![listener],
    };
    let dialer = Dialer {
        policy,
        resolver: Arc::new(SystemResolver),
        identity: DeviceIdentity::from_seed(&seed),
        limits: Limits::default(),
    };
    let worker_id = format!("embedded-{}-{}", std::process::id(), shared::ids::uuid_v7(clock.now()));
    let settings = Settings {
        concurrency: serve.concurrency,
        heartbeat_every: Some(serve.agent_heartbeat_every).filter(|every| !every.is_zero()),
        shutdown: serve.shutdown_timeout,
        ..Settings::new(worker_id, serve.base_url.clone(), serve.gateway_min_version.clone())
    };
    jobs::run(Deps { store, clock, vault, dialer, settings }, stop).await
}

#[expect(clippy::print_stderr, reason = "the last word of a process that failed")]
fn report(error: &dyn std::error::Error) {
    eprintln!("mission-control: {}", shared::chain::chain(error));
}
