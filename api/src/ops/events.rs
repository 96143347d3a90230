//! `events list` and `events verify`.

use clap::Subcommand;
use shared::{
    envelope::StreamId,
    store::Store,
    verify::{Verdict, verify},
};

use super::{OpsError, print};

/// What to do with the log.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print events, one JSON object a line.
    List {
        /// Only this stream, for example `gateway-<uuid>`.
        #[arg(long)]
        stream: Option<String>,
        /// Only after this position.
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// Most events to print.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Prove that the log is as it was written: exit 0 intact, 1 broken, 2 cannot tell.
    Verify,
}

/// Runs it; the result is the exit code.
///
/// # Errors
///
/// [`OpsError`] if the log cannot be read.
pub async fn run(store: &dyn Store, command: &EventsCommand) -> Result<u8, OpsError> {
    match command {
        EventsCommand::List { stream, after, limit } => {
            let page = match stream {
                Some(stream) => store.stream_page(&StreamId::stored(stream.clone()), *after, *limit).await?,
                None => store.log_page(*after, *limit).await?,
            };
            for event in page {
                print(&serde_json::to_string(&event.shown()?)?)?;
            }
            Ok(0)
        }
        EventsCommand::Verify => match verify(store).await? {
            Verdict::Intact { events, head } => {
                print(&format!("intact: {events} events, head {head}"))?;
                Ok(0)
            }
            Verdict::Broken { position, why } => {
                print(&format!("broken at position {position}: {why}"))?;
                Ok(1)
            }
        },
    }
}
