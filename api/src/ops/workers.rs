//! `workers list|drain|resume`: the processes that run jobs.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use shared::{
    clock::{Clock, rfc3339},
    envelope::Actor,
    presence::LOST_AFTER,
    steer,
    store::{Process, ProcessKind, Report, Store},
};

use super::{OpsError, output::Output, print};

const EXAMPLES: &str = "A drained worker ends what it does and takes no more; SIGTERM then stops it with nothing to hand back. The order holds
for that process: one that is started again takes jobs. A worker hears of it within 3 s.

States: working, draining (jobs still run), drained (none does), lost (silent for 10 s; its jobs are taken over).

Examples:
  mission-control workers list --json
  mission-control workers drain db1-4711-019ad0c5-7c1f-7d11-8c5a-3f0d6e7b1a22 --wait --reason \"new kernel\"

Exit codes: 0 done (also if it was so already), 2 not done: there is no such worker, or the database is away.";

/// How often `--wait` looks.
const LOOK: Duration = Duration::from_millis(250);

/// What to do with workers.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum WorkersCommand {
    /// Print the workers, the oldest first.
    #[command(after_help = EXAMPLES)]
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Let a worker end what it does and take no more jobs.
    #[command(after_help = EXAMPLES)]
    Drain {
        /// Which, as `workers list` names it.
        worker: String,
        /// Why, for those who wonder.
        #[arg(long, default_value = "on request")]
        reason: String,
        /// Return when none of its jobs runs any more, or it has ended or was lost.
        #[arg(long)]
        wait: bool,
    },
    /// Let a drained worker take jobs again.
    Resume {
        /// Which, as `workers list` names it.
        worker: String,
    },
}

/// Runs it.
///
/// # Errors
///
/// [`OpsError`] if the store fails, or there is no such worker.
pub async fn run(store: &dyn Store, clock: &dyn Clock, command: &WorkersCommand) -> Result<u8, OpsError> {
    let actor = Actor::command_line();
    let already = |changed| if changed { "" } else { " already" };
    match command {
        WorkersCommand::List { json } => {
            for process in workers(store, clock).await? {
                show(&process, Output::of(*json))?;
            }
        }
        WorkersCommand::Drain { worker, reason, wait } => {
            let changed = steer::drain(store, clock, &actor, (worker, reason)).await?;
            print(&format!("worker {worker} is to drain{}", already(changed)))?;
            if *wait {
                let end = drained(store, clock, worker).await?;
                print(&format!("worker {worker} {end}"))?;
            }
        }
        WorkersCommand::Resume { worker } => {
            let changed = steer::resume_worker(store, clock, &actor, worker).await?;
            print(&format!("worker {worker} takes jobs{}", already(changed)))?;
        }
    }
    Ok(0)
}

async fn workers(store: &dyn Store, clock: &dyn Clock) -> Result<Vec<Process>, OpsError> {
    let mut processes = store.processes(clock.now()).await?;
    processes.retain(|process| process.report.kind == ProcessKind::Worker);
    Ok(processes)
}

async fn drained(store: &dyn Store, clock: &dyn Clock, worker: &str) -> Result<&'static str, OpsError> {
    loop {
        let workers = workers(store, clock).await?;
        match workers.iter().find(|process| process.report.id == worker).map(state) {
            None => return Ok("has ended"),
            Some("lost") => return Ok("is lost; its jobs are taken over"),
            Some("drained") => return Ok("is drained"),
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn state(process: &Process) -> &'static str {
    let Report { draining, in_flight, .. } = process.report;
    match (process.silent_for > LOST_AFTER, draining, in_flight) {
        (true, ..) => "lost",
        (false, true, 0) => "drained",
        (false, true, _) => "draining",
        (false, false, _) if process.is_to_drain => "draining",
        (false, false, _) => "working",
    }
}

fn show(process: &Process, output: Output) -> Result<(), OpsError> {
    let report = &process.report;
    let state = state(process);
    let value = json!({
        "id": report.id, "state": state, "host": report.host, "pid": report.pid, "version": report.version,
        "started_at": rfc3339(report.started_at), "last_seen_at": rfc3339(process.seen_at),
        "in_flight": report.in_flight, "concurrency": report.concurrency,
        "draining": process.is_to_drain || report.draining,
        "key_ids": report.key_ids.split(',').collect::<Vec<_>>(),
    });
    let text = format!(
        "{}  {state:<8}  host {}  pid {}  version {}  started {}  seen {} s ago  {} of {} jobs",
        report.id,
        report.host,
        report.pid,
        report.version,
        rfc3339(report.started_at),
        process.silent_for.as_secs(),
        report.in_flight,
        report.concurrency
    );
    Ok(output.row(&value, &text)?)
}
