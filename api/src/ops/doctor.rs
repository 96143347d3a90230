//! `doctor`: what an operator looks at first, each with one line.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use serde_json::json;
use shared::{
    chain::chain,
    clock::Clock,
    config::Place,
    store::Store,
    vault::Vault,
    verify::{Range, Verdict, verify_range},
};

use super::{OpsError, output::Output};

/// Less free space than this is a fault.
const SPACE_MIN_BYTES: u64 = 256 * 1024 * 1024;
/// An event this far in the future, in seconds, means that a clock is wrong.
const AHEAD_MAX_S: i64 = 5;
/// A job that is due so long, in seconds, waits for a worker that is not there.
const OVERDUE_S: i64 = 60;
/// How much of the chain is proved.
const CHAIN: u64 = 1_000;

const EXAMPLES: &str = "Example:
  mission-control doctor --json

Exit codes: 0 all is well, 1 something is not, 2 cannot tell.";

/// How to look.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// Where the API should listen.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

type Finding = (&'static str, Result<String, String>);

/// Looks at everything: exit 0 if all is well, 1 if something is not.
///
/// # Errors
///
/// [`OpsError`] if nothing can be printed.
pub async fn run(
    place: &Place,
    store: &dyn Store,
    clock: &dyn Clock,
    doctor: &Doctor,
) -> Result<u8, OpsError> {
    let findings: Vec<Finding> = vec![
        ("database", store.ping().await.map(|()| "answers".to_owned()).map_err(|error| chain(&error))),
        // It was opened, and that brings it up to date or fails.
        ("schema", Ok("up to date".to_owned())),
        ("key", key(place, store).await),
        ("disk", disk(place)),
        ("clock", clocks(store, clock).await),
        ("listener", listener(doctor.listen).await),
        ("queue", queue(store, clock).await),
        ("chain", last_links(store).await),
    ];
    let mut is_well = true;
    for (what, found) in findings {
        is_well &= found.is_ok();
        let (mark, text) = match &found {
            Ok(text) => ("ok", text),
            Err(text) => ("FAULT", text),
        };
        let value = json!({"check": what, "ok": found.is_ok(), "detail": text});
        Output::of(doctor.json).row(&value, &format!("{what:<9} {mark:<6} {text}"))?;
    }
    Ok(u8::from(!is_well))
}

async fn key(place: &Place, store: &dyn Store) -> Result<String, String> {
    let path = place.master_key_path();
    let vault = Vault::open(&path, false).map_err(|error| chain(&error))?;
    vault.check(store, &path).await.map_err(|error| chain(&error))?;
    Ok(format!("{} is the key of this database", path.display()))
}

fn disk(place: &Place) -> Result<String, String> {
    let free = fs4::available_space(&place.data_dir).map_err(|error| error.to_string())?;
    let text = format!("{} MiB free in {}", free / 1024 / 1024, place.data_dir.display());
    if free < SPACE_MIN_BYTES { Err(text) } else { Ok(text) }
}

/// This host's clock against the database's, where that has one of its own, and against the last event.
async fn clocks(store: &dyn Store, clock: &dyn Clock) -> Result<String, String> {
    let ahead = match store.time().await.map_err(|error| chain(&error))? {
        Some(time) => (clock.now() - time).num_seconds(),
        None => 0,
    };
    if ahead.abs() > AHEAD_MAX_S {
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        return Err(format!("this host's clock is {} s {side} the database server's", ahead.abs()));
    }
    last_event(store, clock).await
}

async fn last_event(store: &dyn Store, clock: &dyn Clock) -> Result<String, String> {
    let head = store.head().await.map_err(|error| chain(&error))?.position;
    let page = store.log_page(head.saturating_sub(1), 1).await.map_err(|error| chain(&error))?;
    let Some(last) = page.last() else { return Ok("no event yet".to_owned()) };
    let ahead = (last.recorded_at - clock.now()).num_seconds();
    if ahead > AHEAD_MAX_S {
        return Err(format!("event {head} was recorded {ahead} s in the future of this host's clock"));
    }
    Ok(format!("event {head} was recorded {} s ago", -ahead))
}

async fn listener(address: SocketAddr) -> Result<String, String> {
    let connecting = tokio::net::TcpStream::connect(address);
    match tokio::time::timeout(Duration::from_secs(2), connecting).await {
        Ok(Ok(_)) => Ok(format!("{address} is listened on")),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address} does not answer")),
    }
}

async fn queue(store: &dyn Store, clock: &dyn Clock) -> Result<String, String> {
    let jobs = store.jobs().await.map_err(|error| chain(&error))?;
    if let Some(pause) = store.pause().await.map_err(|error| chain(&error))? {
        return Err(format!("paused by {}: {}; {} jobs wait", pause.by, pause.reason, jobs.len()));
    }
    let waits = jobs.iter().filter(|queued| queued.leased.is_none());
    let oldest = waits.map(|queued| (clock.now() - queued.job.run_at).num_seconds()).max().unwrap_or(0);
    let text = format!("{} jobs; the oldest is due since {} s", jobs.len(), oldest.max(0));
    if oldest > OVERDUE_S { Err(text) } else { Ok(text) }
}

async fn last_links(store: &dyn Store) -> Result<String, String> {
    let head = store.head().await.map_err(|error| chain(&error))?.position;
    let range = Range { from: head.saturating_sub(CHAIN - 1).max(1), ..Range::default() };
    match verify_range(store, range, |_| {}).await.map_err(|error| chain(&error))? {
        Verdict::Intact { events, .. } => Ok(format!("the last {events} events are intact")),
        Verdict::Broken { position, why } => Err(format!("broken at position {position}: {why}")),
    }
}
