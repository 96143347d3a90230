//! `mission-control-worker`: runs jobs, beside any number of others on the same PostgreSQL database.

use std::{process::ExitCode, sync::Arc};

use clap::Parser as _;
use shared::{
    chain::chain,
    clock::{Clock, SystemClock},
    config::{raise_file_limit, stop_signal},
    presence::host,
    scrape::{self, Scrape},
    store::{Store, insist},
    telemetry,
    vault::{Vault, VaultError},
};
use tokio_util::sync::CancellationToken;
use worker::{
    config::{Cli, Command, Deps, StartError},
    health, jobs, probe,
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
    if let Some(Command::Probe(probe)) = &cli.command {
        return Ok(probe::run(&cli.work, probe).await?);
    }
    let location = cli.place.location()?;
    if !location.is_shared() {
        return Err(
            "mission-control-worker needs DATABASE_URL=postgres://…; with a SQLite file `mission-control \
                    serve` runs the jobs itself"
                .into(),
        );
    }
    let metrics = scrape::start()?;
    let key = cli.place.master_key_path();
    let vault = Arc::new(Vault::open(&key, false)?);
    raise_file_limit();
    let store = location.open_when_it_comes().await?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_at_signal(stop.clone()));
    let metrics = Scrape::new(metrics, (Arc::clone(&store), Arc::new(SystemClock)), None);
    tokio::spawn(health::serve(cli.listen, Arc::clone(&store), metrics));
    tracing::info!(database = %location, concurrency = cli.work.concurrency, "working; SIGTERM stops");
    let worked = tokio::select! {
        started = start(&cli, &key, Arc::clone(&store), vault) => jobs::run(started?, stop).await,
        () = stop.cancelled() => Ok(()),
    };
    store.close().await;
    tracing::info!("stopped");
    worked?;
    Ok(0)
}

async fn start(
    cli: &Cli,
    key: &std::path::Path,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
) -> Result<Deps, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    insist(|| vault.check(store.as_ref(), key), VaultError::is_away).await?;
    Deps::of(&cli.work, (store, clock, vault), &host(), vec![cli.listen]).await
}

async fn stop_at_signal(stop: CancellationToken) {
    stop_signal().await;
    tracing::info!("stopping: running jobs end or are handed back");
    stop.cancel();
}

#[expect(clippy::print_stderr, reason = "the last word of a process that failed")]
fn report(error: &dyn std::error::Error) {
    eprintln!("mission-control-worker: {}", chain(error));
}
