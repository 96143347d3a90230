//! `projections list|verify|rebuild`, while the installation runs.

use clap::Subcommand;
use serde_json::json;
use shared::{
    clock::Clock,
    envelope::Actor,
    rebuild::rebuild,
    steer,
    store::{Difference, Pace, Store, Swap},
};

use super::{
    OpsError,
    output::{Output, Progress},
};

const EXAMPLES: &str =
    "Commits and reads go on meanwhile. A rebuild that was stopped goes on where it was; of two
at once, the one that began last goes on, and the other one ends.

Examples:
  mission-control projections verify
  mission-control projections rebuild --json
  mission-control projections rebuild --fast

Exit codes: 0 all equal (or made equal), 1 something differs, 2 cannot tell.";

/// What to do with read models.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum ProjectionsCommand {
    /// Print the read models.
    #[command(after_help = EXAMPLES)]
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Make the read models again from the log, beside them, and compare.
    #[command(after_help = EXAMPLES)]
    Verify {
        /// Take every processor and do not pause, to be done sooner; without it those who read and commit go first.
        #[arg(long)]
        fast: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Make the read models again from the log, compare, and put them in place.
    #[command(after_help = EXAMPLES)]
    Rebuild {
        /// Compare only, as `verify` does.
        #[arg(long)]
        no_swap: bool,
        /// Take every processor and do not pause, to be done sooner; without it those who read and commit go first.
        #[arg(long)]
        fast: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

impl ProjectionsCommand {
    /// Whether half of the processors are left to others.
    #[must_use]
    pub fn leaves_room(&self) -> bool {
        matches!(self, Self::Verify { fast: false, .. } | Self::Rebuild { fast: false, .. })
    }
}

/// Runs it.
///
/// # Errors
///
/// [`OpsError`] if the store fails.
pub async fn run(store: &dyn Store, clock: &dyn Clock, command: &ProjectionsCommand) -> Result<u8, OpsError> {
    let (swap, fast, json) = match command {
        ProjectionsCommand::List { json } => {
            for name in Difference::PROJECTIONS {
                Output::of(*json).row(&json!({"projection": name}), name)?;
            }
            return Ok(0);
        }
        ProjectionsCommand::Verify { fast, json }
        | ProjectionsCommand::Rebuild { no_swap: true, fast, json } => (Swap::No, *fast, *json),
        ProjectionsCommand::Rebuild { no_swap: false, fast, json } => (Swap::Yes, *fast, *json),
    };
    let pace = if fast { Pace::Fast } else { Pace::Steady };
    let mut progress = Progress::new("read", 0, store.head().await?.position);
    if swap == Swap::Yes {
        steer::note_rebuild(store, clock, &Actor::command_line()).await?;
    }
    let differences = rebuild(store, (swap, pace), |position| progress.reach(position)).await?;
    drop(progress);
    let mut are_equal = true;
    for Difference { projection, rows, differing } in differences {
        are_equal &= differing == 0;
        let value = json!({"projection": projection, "rows": rows, "differing": differing});
        let what = match (differing, swap) {
            (0, _) => "equal".to_owned(),
            (_, Swap::Yes) => format!("{differing} differed and were replaced"),
            (_, Swap::No) => format!("{differing} differ"),
        };
        Output::of(json).row(&value, &format!("{projection:<14}  {rows:>8} rows  {what}"))?;
    }
    Ok(u8::from(!are_equal && swap == Swap::No))
}
