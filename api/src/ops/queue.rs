//! `queue pause|resume`: for the whole installation, obeyed by every worker.

use clap::Subcommand;
use serde_json::json;
use shared::{clock::Clock, envelope::Actor, steer, store::Store};

use super::{OpsError, output::Output};

const EXAMPLES: &str = "Running jobs end; nothing new is begun. What is asked for meanwhile waits.

Examples:
  mission-control queue pause --reason \"the gateways' host is being replaced\"
  mission-control queue resume

Exit codes: 0 done (also if it was so already), 2 not done.";

/// What to do with the queue.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum QueueCommand {
    /// Give workers nothing until it is resumed.
    #[command(after_help = EXAMPLES)]
    Pause {
        /// Why, for those who wonder.
        #[arg(long, default_value = "on request")]
        reason: String,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Give workers jobs again.
    #[command(after_help = EXAMPLES)]
    Resume {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
///
/// # Errors
///
/// [`OpsError`] if it is not written.
pub async fn run(store: &dyn Store, clock: &dyn Clock, command: &QueueCommand) -> Result<u8, OpsError> {
    let actor = Actor::command_line();
    let (changed, now, json) = match command {
        QueueCommand::Pause { reason, json } => {
            (steer::pause(store, clock, &actor, reason).await?, "paused", *json)
        }
        QueueCommand::Resume { json } => (steer::resume(store, clock, &actor).await?, "running", *json),
    };
    let text = format!("the queue is {now}{}", if changed { "" } else { " already" });
    Output::of(json).row(&json!({"queue": now, "changed": changed}), &text)?;
    Ok(0)
}
