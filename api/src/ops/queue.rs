//! `queue pause|resume`: for the whole installation, obeyed by every worker.

use clap::Subcommand;
use shared::{clock::Clock, envelope::Actor, steer, store::Store};

use super::{OpsError, print};

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
    },
    /// Give workers jobs again.
    Resume,
}

/// Runs it.
///
/// # Errors
///
/// [`OpsError`] if it is not written.
pub async fn run(store: &dyn Store, clock: &dyn Clock, command: &QueueCommand) -> Result<u8, OpsError> {
    let actor = Actor::command_line();
    let (changed, now) = match command {
        QueueCommand::Pause { reason } => (steer::pause(store, clock, &actor, reason).await?, "paused"),
        QueueCommand::Resume => (steer::resume(store, clock, &actor).await?, "running"),
    };
    print(&format!("the queue is {now}{}", if changed { "" } else { " already" }))?;
    Ok(0)
}
