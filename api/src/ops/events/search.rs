//! `events list` and `events tail`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use shared::{
    config::Place,
    envelope::{Recorded, StreamId},
    ids::{OperationId, OrganizationId},
    store::{EventFilter, Store},
};

use crate::ops::{OpsError, print};

/// A database that tells nobody of its commits is looked at this often.
const LOOK_FILE: Duration = Duration::from_millis(25);
/// One that tells is looked at this often all the same.
const LOOK_SERVER: Duration = Duration::from_secs(1);
/// Events per read.
const PAGE: u32 = 1_000;

/// Which events.
#[derive(Debug, Args)]
pub struct Which {
    /// Only events of this name, for example `GatewayCreated`.
    #[arg(long = "type")]
    event_type: Option<String>,
    /// Only this stream, for example `gateway-<uuid>`.
    #[arg(long)]
    stream: Option<String>,
    /// Only what this actor caused, by its id.
    #[arg(long)]
    actor: Option<String>,
    /// Only events of this operation.
    #[arg(long)]
    operation: Option<OperationId>,
    /// Only this organization's.
    #[arg(long)]
    organization: Option<OrganizationId>,
    /// Only what was recorded then or later, for example 2026-03-05T10:30:00Z.
    #[arg(long)]
    since: Option<DateTime<Utc>>,
    /// Only what was recorded before.
    #[arg(long)]
    until: Option<DateTime<Utc>>,
    /// Always on: one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Which {
    fn filter(&self) -> EventFilter {
        EventFilter {
            organization: self.organization,
            event_type: self.event_type.clone(),
            stream: self.stream.clone().map(StreamId::stored),
            actor: self.actor.clone(),
            operation: self.operation,
            since: self.since,
            until: self.until,
        }
    }
}

/// A page of the log.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    /// Only after this position.
    #[arg(long, default_value_t = 0)]
    after: u64,
    /// Most events to print.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// The end of the log.
#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    which: Which,
    /// Go on with each event that is recorded, until SIGINT or SIGTERM.
    #[arg(short, long)]
    follow: bool,
    /// How far back to begin, in positions.
    #[arg(short = 'n', long, default_value_t = 10)]
    lines: u64,
}

/// Prints a page.
///
/// # Errors
///
/// [`OpsError`] if the log cannot be read.
pub async fn list(store: &dyn Store, list: &List) -> Result<u8, OpsError> {
    let filter = list.which.filter();
    let (mut after, mut left) = (list.after, list.limit);
    while left > 0 {
        let page = store.events(&filter, after, left.min(PAGE)).await?;
        let Some(end) = page.last() else { break };
        after = end.position;
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(left));
        show(&page)?;
    }
    Ok(0)
}

fn show(page: &[Recorded]) -> Result<(), OpsError> {
    for event in page {
        print(&serde_json::to_string(&event.shown()?)?)?;
    }
    Ok(())
}

/// Prints the end of the log, and what follows.
///
/// # Errors
///
/// [`OpsError`] if the log cannot be read.
pub async fn tail(place: &Place, store: &dyn Store, tail: &Tail) -> Result<u8, OpsError> {
    let filter = tail.which.filter();
    let look = if place.location()?.is_shared() { LOOK_SERVER } else { LOOK_FILE };
    let mut positions = store.positions();
    let mut after = store.head().await?.position.saturating_sub(tail.lines);
    let mut stop = std::pin::pin!(shared::config::stop_signal());
    loop {
        let head = store.head().await?.position;
        let page = if head > after { store.events(&filter, after, PAGE).await? } else { vec![] };
        show(&page)?;
        let is_full = u32::try_from(page.len()).is_ok_and(|length| length == PAGE);
        let end = page.last().map_or(after, |last| last.position);
        // What does not pass the filter need not be looked at again.
        after = if is_full { end } else { end.max(head).max(after) };
        if is_full {
            continue;
        }
        if !tail.follow {
            return Ok(0);
        }
        tokio::select! {
            _ = tokio::time::timeout(look, positions.changed()) => {}
            () = &mut stop => return Ok(0),
        }
    }
}
