//! `events tail|list|show|verify|export|checkpoint`.

pub mod export;
pub mod proof;
pub mod search;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use shared::{checkpoint, config::Place, envelope::StoredEvent, store::Store};

use super::{OpsError, print};

const EXAMPLES: &str = "Each event is one JSON object a line, with or without --json.

Examples:
  mission-control events tail -f
  mission-control events list --type GatewayCreated --since 2026-03-05T00:00:00Z
  mission-control events checkpoint > checkpoint.json
  mission-control events verify --checkpoint checkpoint.json
  mission-control events export --format cloudevents > events.ndjson
  mission-control events verify --offline events.ndjson

Exit codes: 0 done or intact, 1 broken or not there, 2 cannot tell.";

/// What to do with the log.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum EventsCommand {
    /// Print the last events, and with -f each that follows.
    #[command(after_help = EXAMPLES)]
    Tail(search::Tail),
    /// Print events, one JSON object a line.
    #[command(after_help = EXAMPLES)]
    List(search::List),
    /// Print one event as it is stored: its data and metadata byte for byte.
    #[command(after_help = EXAMPLES)]
    Show {
        /// Its position.
        position: u64,
        /// Always on.
        #[arg(long)]
        json: bool,
    },
    /// Prove that the log is as it was written: exit 0 intact, 1 broken, 2 cannot tell.
    #[command(after_help = EXAMPLES)]
    Verify(Verify),
    /// Print the whole log so that it can be proved without the database.
    #[command(after_help = EXAMPLES)]
    Export {
        /// How each event looks.
        #[arg(long, value_enum, default_value_t = Format::Ndjson)]
        format: Format,
        /// Only after this position.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Print the latest signed end of the log, with the public key, for keeping elsewhere: exit 1 if there is none yet.
    #[command(after_help = EXAMPLES)]
    Checkpoint {
        /// Always on.
        #[arg(long)]
        json: bool,
    },
}

/// What to prove.
#[derive(Debug, Args)]
pub struct Verify {
    /// From this position on; the event before is trusted.
    #[arg(long, default_value_t = 1, conflicts_with = "offline")]
    pub from: u64,
    /// Up to this position.
    #[arg(long, conflicts_with = "offline")]
    pub to: Option<u64>,
    /// The log must hold what this checkpoint has signed: finds a cut end, even if the head of the log and the checkpoints
    /// in the database were changed to match. Without it the latest checkpoint in the database is taken.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Prove an exported file; no database is used.
    #[arg(long)]
    pub offline: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// How an exported event looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As it is stored, byte for byte.
    Ndjson,
    /// `CloudEvents` 1.0, with what is stored inside.
    Cloudevents,
}

/// Runs it; the result is the exit code.
///
/// # Errors
///
/// [`OpsError`] if the log cannot be read.
pub async fn run(place: &Place, store: &dyn Store, command: &EventsCommand) -> Result<u8, OpsError> {
    match command {
        EventsCommand::Tail(tail) => search::tail(place, store, tail).await,
        EventsCommand::List(list) => search::list(store, list).await,
        EventsCommand::Show { position, .. } => {
            let page = store.stored_page(position.saturating_sub(1), 1).await?;
            let is_it = |event: &&StoredEvent| u64::try_from(event.position) == Ok(*position);
            let Some(event) = page.first().filter(is_it) else { return Ok(1) };
            print(&export::line(event, Format::Ndjson)?)?;
            Ok(0)
        }
        EventsCommand::Verify(verify) => proof::run(store, verify).await,
        EventsCommand::Export { format, after } => export::run(store, *format, *after).await,
        EventsCommand::Checkpoint { .. } => {
            let Some(latest) = checkpoint::latest(store).await? else { return Ok(1) };
            print(&serde_json::to_string(&checkpoint::Kept::from(&latest))?)?;
            Ok(0)
        }
    }
}
