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
    monitor,
    steer::{self, SteerError},
    store::{QueuedJob, Store},
};

use super::{OpsError, output::Output};

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
    #[command(after_help = EXAMPLES)]
    Show {
        /// Which.
        job: JobId,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Tell why a job does not run now.
    #[command(after_help = EXAMPLES)]
    Explain {
        /// Which.
        job: JobId,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Make a job that waits due at once.
    #[command(after_help = EXAMPLES)]
    Retry {
        /// Which.
        job: JobId,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Drop a job that waits, unless it follows from the state of its gateway: cancel the operation then.
    #[command(after_help = EXAMPLES)]
    Cancel {
        /// Which.
        job: JobId,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Enqueue again what waits for a worker although its job is gone, and bring the schedule of probes in line with the
    /// registered gateways. Workers do it by themselves every 30 s, and every 6 s.
    #[command(after_help = EXAMPLES)]
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
        JobsCommand::Explain { job, json } => {
            return explain(store, clock.now(), *job, Output::of(*json)).await;
        }
        JobsCommand::Retry { job, json } => {
            let changed = steer::retry(store, clock, &actor, *job).await;
            return tell(changed, *job, "due", Output::of(*json));
        }
        JobsCommand::Cancel { job, json } => {
            let changed = steer::cancel(store, clock, &actor, *job).await;
            return tell(changed, *job, "gone", Output::of(*json));
        }
        JobsCommand::Reconcile { json } => {
            for (gateway, kind) in steer::reconcile_for(store, clock, &actor).await? {
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

/// Exit 1 if there was no such job.
fn tell(changed: Result<(), SteerError>, job: JobId, now: &str, output: Output) -> Result<u8, OpsError> {
    let (code, text) = match changed {
        Ok(()) => (0, format!("job {job} is {now}")),
        Err(error @ SteerError::NoJob(_)) => (1, error.to_string()),
        Err(error) => return Err(error.into()),
    };
    output.row(&json!({"job": job, "changed": code == 0, "detail": text}), &text)?;
    Ok(code)
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

async fn explain(store: &dyn Store, now: DateTime<Utc>, id: JobId, output: Output) -> Result<u8, OpsError> {
    let queue = store.jobs().await?;
    let say = |text: String| output.row(&json!({"job": id, "detail": text}), &text);
    let Some(queued) = queue.iter().find(|queued| queued.job.id == id) else {
        say(format!("there is no job {id}: it has ended, and `events list` shows how, or it never was"))?;
        return Ok(1);
    };
    let job = &queued.job;
    if let Gateway::Known(known) = load(store, job.gateway).await? {
        let open = if known.is_ended() { "has its outcome" } else { "is open" };
        let this = if known.operation.id == job.operation { "its operation" } else { "an earlier operation" };
        say(format!("{} for {this} of gateway {}, whose last operation {open}", job.kind, job.gateway))?;
    }
    if let Some((worker, until)) = &queued.leased {
        let what = if *until < now { "was lost by" } else { "is being done by" };
        say(format!("it {what} {worker}; the lease ends {}", rfc3339(*until)))?;
    } else if job.run_at > now {
        say(format!("it waits until {}, as attempt {}", rfc3339(job.run_at), job.attempt))?;
    } else {
        say(format!("it is due since {}", rfc3339(job.run_at)))?;
    }
    if let Some(pause) = store.pause().await? {
        say(format!("the queue is paused since {} by {}: {}", rfc3339(pause.since), pause.by, pause.reason))?;
    }
    let same = |other: &&QueuedJob| other.job.gateway_key == job.gateway_key && other.job.id != id;
    for other in
        queue.iter().filter(same).filter(|other| other.leased.is_some() || other.job.run_at < job.run_at)
    {
        let does = if other.leased.is_some() { "runs now" } else { "is before it" };
        say(format!("job {} dials the same gateway and {does}", other.job.id))?;
    }
    Ok(0)
}
