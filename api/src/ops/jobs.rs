//! `jobs list|show|explain|retry|cancel|reconcile`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Value, json};
use shared::{
    clock::{Clock, rfc3339},
    domain::gateway::Gateway,
    envelope::Actor,
    execute::load,
    ids::JobId,
    monitor, steer,
    store::{QueuedJob, Store},
};

use super::{OpsError, output::Output, print};

/// Gateways that are put back on the schedule of probes are probed within so long, if a monitor runs.
const PROBES_WITHIN: Duration = Duration::from_mins(1);

const EXAMPLES: &str = "Examples:
  mission-control jobs list --json
  mission-control jobs explain 0199d0a2-…
  mission-control jobs retry 0199d0a2-…
  mission-control jobs reconcile

Exit codes: 0 done, 1 no such job, 2 refused or not done.";

/// What to do with jobs.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum JobsCommand {
    /// Print what is still to do, the earliest first.
    #[command(after_help = EXAMPLES)]
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Print one job.
    Show {
        /// Which.
        job: JobId,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Tell why a job does not run now.
    Explain {
        /// Which.
        job: JobId,
    },
    /// Make a job that waits due at once.
    Retry {
        /// Which.
        job: JobId,
    },
    /// Drop a job that waits, unless it follows from the state of its gateway: cancel the operation then.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// Enqueue again what waits for a worker although its job is gone, and bring the schedule of probes in line with the
    /// registered gateways. Workers do it by themselves every 30 s, and every 6 s.
    Reconcile {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
///
/// # Errors
///
/// [`OpsError`] if the store fails, or the order is refused.
pub async fn run(store: &dyn Store, clock: &dyn Clock, command: &JobsCommand) -> Result<u8, OpsError> {
    let actor = Actor::command_line();
    match command {
        JobsCommand::List { json } => {
            for queued in store.jobs().await? {
                show(&queued, Output::of(*json))?;
            }
        }
        JobsCommand::Show { job, json } => {
            let queue = store.jobs().await?;
            let Some(queued) = queue.iter().find(|queued| queued.job.id == *job) else { return Ok(1) };
            show(queued, Output::of(*json))?;
        }
        JobsCommand::Explain { job } => return explain(store, clock.now(), *job).await,
        JobsCommand::Retry { job } => {
            steer::retry(store, clock, &actor, *job).await?;
            print(&format!("job {job} is due"))?;
        }
        JobsCommand::Cancel { job } => {
            steer::cancel(store, clock, &actor, *job).await?;
            print(&format!("job {job} is gone"))?;
        }
        JobsCommand::Reconcile { json } => {
            for (gateway, kind) in steer::reconcile(store, clock).await? {
                let value = json!({"gateway": gateway, "kind": kind.as_str()});
                Output::of(*json).row(&value, &format!("{kind}  gateway {gateway}"))?;
            }
            let probes = monitor::enrol(store, clock, PROBES_WITHIN).await?;
            let changed = probes.added + probes.dropped + probes.resumed;
            if changed > 0 {
                let monitor::Enrolled { added, dropped, resumed } = probes;
                let value =
                    json!({"probes_added": added, "probes_dropped": dropped, "probes_resumed": resumed});
                let text = format!("probes: {added} added, {dropped} dropped, {resumed} resumed");
                Output::of(*json).row(&value, &text)?;
            }
        }
    }
    Ok(0)
}

fn show(queued: &QueuedJob, output: Output) -> Result<(), OpsError> {
    let job = &queued.job;
    let (worker, until) = queued.leased.clone().unzip();
    let value = json!({
        "id": job.id, "kind": job.kind.as_str(), "gateway": job.gateway, "operation": job.operation,
        "gateway_key": job.gateway_key, "run_at": rfc3339(job.run_at), "attempt": job.attempt,
        "created_at": rfc3339(job.created_at), "worker": worker,
        "lease_until": until.map_or(Value::Null, |until| rfc3339(until).into()),
    });
    let held = worker.map_or_else(|| "waits".to_owned(), |worker| format!("held by {worker}"));
    let due = rfc3339(job.run_at);
    let text = format!(
        "{}  {:<18}  gateway {}  due {due}  attempt {}  {held}",
        job.id,
        job.kind.as_str(),
        job.gateway,
        job.attempt
    );
    Ok(output.row(&value, &text)?)
}

async fn explain(store: &dyn Store, now: DateTime<Utc>, id: JobId) -> Result<u8, OpsError> {
    let queue = store.jobs().await?;
    let Some(queued) = queue.iter().find(|queued| queued.job.id == id) else {
        print(&format!("there is no job {id}: it has ended, and `events list` shows how, or it never was"))?;
        return Ok(1);
    };
    let job = &queued.job;
    if let Gateway::Known(known) = load(store, job.gateway).await? {
        let open = if known.is_ended() { "has its outcome" } else { "is open" };
        let this = if known.operation.id == job.operation { "its operation" } else { "an earlier operation" };
        print(&format!("{} for {this} of gateway {}, whose last operation {open}", job.kind, job.gateway))?;
    }
    if let Some((worker, until)) = &queued.leased {
        let what = if *until < now { "was lost by" } else { "is being done by" };
        print(&format!("it {what} {worker}; the lease ends {}", rfc3339(*until)))?;
    } else if job.run_at > now {
        print(&format!("it waits until {}, as attempt {}", rfc3339(job.run_at), job.attempt))?;
    } else {
        print(&format!("it is due since {}", rfc3339(job.run_at)))?;
    }
    if let Some(pause) = store.pause().await? {
        print(&format!(
            "the queue is paused since {} by {}: {}",
            rfc3339(pause.since),
            pause.by,
            pause.reason
        ))?;
    }
    let same = |other: &&QueuedJob| other.job.gateway_key == job.gateway_key && other.job.id != id;
    for other in
        queue.iter().filter(same).filter(|other| other.leased.is_some() || other.job.run_at < job.run_at)
    {
        let does = if other.leased.is_some() { "runs now" } else { "is before it" };
        print(&format!("job {} dials the same gateway and {does}", other.job.id))?;
    }
    Ok(0)
}
