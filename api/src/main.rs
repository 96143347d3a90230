//! `mission-control`: the server and the operator's command line. The only place where `api` names `worker`.

use std::{process::ExitCode, sync::Arc};

use api::{
    config::{Cli, Command, Serve},
    ops::{self, events::EventsCommand},
    serve::{self, Started},
};
use clap::Parser as _;
use rustix::{io::Errno, process::nice};
use shared::{clock::SystemClock, scrape, telemetry};
use worker::{config::Deps, jobs};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Threads inherit it, so before there are any; without it this is only less polite.
    let _ = leave_room(&cli.command);
    let runtime = tokio::runtime::Runtime::new().map_err(Box::from);
    let done = runtime.and_then(|runtime| runtime.block_on(run(cli)));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(error.as_ref());
            ExitCode::from(2)
        }
    }
}

/// What a command that goes through the whole log leaves to the others of its host, from 0 (nothing) to 19.
const NICE: i32 = 15;

/// Lets those who serve on this host go first.
fn leave_room(command: &Command) -> Result<(), Errno> {
    if let Command::Projections(projections) = command
        && projections.leaves_room()
    {
        keep_to_half()
    } else if reads_all(command) {
        nice(NICE).map(|_| ())
    } else {
        Ok(())
    }
}

fn reads_all(command: &Command) -> bool {
    matches!(command, Command::Events(EventsCommand::Verify(_) | EventsCommand::Export { .. }))
}

/// Uses half of the processors that it may use, and at least one.
///
/// A low priority alone is not enough where many wait for an answer: whoever wakes up is put on a processor that such a
/// command has, and waits there for the end of its time slice. A processor that it never uses is free at once.
#[cfg(target_os = "linux")]
fn keep_to_half() -> Result<(), Errno> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let mine = sched_getaffinity(None)?;
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|processor| mine.is_set(*processor)).collect();
    let mut half = CpuSet::new();
    all.iter().rev().take((all.len() / 2).max(1)).for_each(|processor| half.set(*processor));
    sched_setaffinity(None, &half)
}

/// Where a process cannot choose its processors.
#[cfg(not(target_os = "linux"))]
fn keep_to_half() -> Result<(), Errno> {
    nice(NICE).map(|_| ())
}

async fn run(cli: Cli) -> Result<u8, Box<dyn std::error::Error>> {
    telemetry::start_logs(cli.place.format(), &cli.place.log_filter)?;
    // One provider for every TLS connection of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = SystemClock;
    if let Command::Events(EventsCommand::Verify(verify)) = &cli.command
        && verify.offline.is_some()
    {
        return Ok(ops::events::proof::run_offline(verify)?);
    }
    let store = match &cli.command {
        Command::Serve(settings) => {
            let metrics = scrape::start()?;
            let is_embedded = !cli.place.location()?.is_shared();
            serve::run(&cli.place, settings, metrics, |started| work(settings, started, is_embedded)).await?;
            return Ok(0);
        }
        Command::Migrate => cli.place.location()?.open().await?,
        Command::Organization(_)
        | Command::Member(_)
        | Command::Token(_)
        | Command::Key(_)
        | Command::Events(_)
        | Command::Replay(_)
        | Command::Operations(_)
        | Command::Jobs(_)
        | Command::Queue(_)
        | Command::Workers(_)
        | Command::Projections(_)
        | Command::Doctor(_) => ops::open(&cli.place).await?,
    };
    let code = match cli.command {
        Command::Serve(_) => 0,
        Command::Migrate => {
            ops::print(&format!("the schema of {} is up to date", cli.place.location()?))?;
            0
        }
        Command::Organization(command) => ops::organization::run(store.as_ref(), &clock, command).await?,
        Command::Member(command) => ops::organization::run_member(store.as_ref(), &clock, command).await?,
        Command::Token(command) => ops::token::run(store.as_ref(), &clock, command).await?,
        Command::Key(command) => ops::key::run(&cli.place, store.as_ref(), &clock, &command).await?,
        Command::Events(command) => ops::events::run(&cli.place, store.as_ref(), &command).await?,
        Command::Replay(replay) => ops::replay::run(store.as_ref(), &replay).await?,
        Command::Operations(command) => ops::operations::run(store.as_ref(), &command).await?,
        Command::Jobs(command) => ops::jobs::run(store.as_ref(), &clock, &command).await?,
        Command::Queue(command) => ops::queue::run(store.as_ref(), &clock, &command).await?,
        Command::Workers(command) => ops::workers::run(store.as_ref(), &clock, &command).await?,
        Command::Projections(command) => ops::projections::run(store.as_ref(), &clock, &command).await?,
        Command::Doctor(doctor) => ops::doctor::run(&cli.place, store.as_ref(), &clock, &doctor).await?,
    };
    store.close().await;
    Ok(code)
}

async fn work(serve: &Serve, started: Started, is_embedded: bool) -> std::io::Result<()> {
    let Started { store, clock, vault, listener, stop } = started;
    let deps = tokio::select! {
        deps = Deps::of(&serve.work, (Arc::clone(&store), clock, vault), "serve", vec![listener]) => deps,
        () = stop.cancelled() => return Ok(()),
    };
    if is_embedded {
        // One process per file: whatever was leased was leased to a predecessor that is gone.
        store.void_leases().await.map_err(std::io::Error::other)?;
    }
    jobs::run(deps.map_err(std::io::Error::other)?, stop).await
}

#[expect(clippy::print_stderr, reason = "the last word of a process that failed")]
fn report(error: &dyn std::error::Error) {
    eprintln!("mission-control: {}", shared::chain::chain(error));
}
