//! Every metric of this service, by its one name. Here is what is counted, not where: who counts, names it.
//!
//! Each label has a known, small set of values: none is taken from a client or a gateway. `docs/metrics.md` says what to
//! do when one of them moves.

use std::time::Duration;

use metrics::{Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{
    domain::gateway::{
        failure::{Code, Stage},
        health::{Health, Sight},
    },
    job::Kind,
};

/// Registrations that ended, by `outcome` and problem `code` (`none` where nothing failed).
pub const CREATIONS: &str = "mission_control_creations_total";
/// Attempts at a registration that ended, by `outcome` and the `stage` they failed at (`none` where they did not).
pub const ATTEMPTS: &str = "mission_control_attempts_total";
/// How long each stage that was passed took, by `stage`.
pub const STAGE_SECONDS: &str = "mission_control_stage_seconds";
/// Deliveries of jobs that ended, by `kind` and `outcome`.
pub const JOBS: &str = "mission_control_jobs_total";
/// How long a delivery took, by `kind`.
pub const JOB_SECONDS: &str = "mission_control_job_seconds";
/// Jobs that this process works on now.
pub const JOBS_RUNNING: &str = "mission_control_jobs_running";
/// Jobs that this process may work on at once; 0 where no worker runs.
pub const JOBS_RUNNING_MAX: &str = "mission_control_jobs_running_max";
/// Jobs that are due and that nobody works on, in the whole installation.
pub const QUEUE_DUE: &str = "mission_control_queue_due_jobs";
/// For how long the oldest of them has been due.
pub const QUEUE_AGE: &str = "mission_control_queue_oldest_due_seconds";
/// 1 while an operator has paused the queue.
pub const QUEUE_PAUSED: &str = "mission_control_queue_paused";
/// 1 if the database answered when this page was made.
pub const DATABASE_UP: &str = "mission_control_database_up";
/// Calls to the database that failed, by `kind`.
pub const DATABASE_ERRORS: &str = "mission_control_database_errors_total";
/// Commits that this process asked for and were answered, by `outcome`.
pub const COMMITS: &str = "mission_control_commits_total";
/// How many commits shared a transaction.
pub const COMMIT_BATCH_SIZE: &str = "mission_control_commit_batch_size";
/// How long a transaction of commits took.
pub const COMMIT_SECONDS: &str = "mission_control_commit_seconds";
/// Clients that wait for an outcome in this process.
pub const WAITING_CLIENTS: &str = "mission_control_waiting_clients";
/// Requests answered, by `method`, `route` and `status`.
pub const HTTP_REQUESTS: &str = "mission_control_http_requests_total";
/// How long requests took, by `route`; waiting for an outcome is part of it.
pub const HTTP_REQUEST_SECONDS: &str = "mission_control_http_request_seconds";
/// Requests refused because too many came before, by `policy`.
pub const RATE_LIMITED: &str = "mission_control_rate_limited_total";
/// Readers of the event stream that were cut off because they were too slow.
pub const EVENT_STREAMS_CUT: &str = "mission_control_event_streams_cut_total";

/// Probes of registered gateways by the monitor, by what was `found`.
pub const PROBES: &str = "mission_control_probes_total";
/// Registered gateways whose status turned, by what it turned `to`.
pub const GATEWAY_TURNS: &str = "mission_control_gateway_turns_total";

/// The value of a label that says nothing.
const NONE: &str = "none";

/// Every metric with its unit and its help text, counters first, then gauges, then histograms.
pub const ALL: [(&str, Unit, &str); 22] = [
    (CREATIONS, Unit::Count, "Registrations that ended, by outcome and problem code."),
    (
        ATTEMPTS,
        Unit::Count,
        "Attempts at a registration that ended, by outcome and the stage they failed at.",
    ),
    (JOBS, Unit::Count, "Deliveries of jobs that ended, by kind and outcome."),
    (COMMITS, Unit::Count, "Commits to the event log that were answered, by outcome."),
    (DATABASE_ERRORS, Unit::Count, "Calls to the database that failed, by kind."),
    (HTTP_REQUESTS, Unit::Count, "Requests answered, by method, route and status."),
    (RATE_LIMITED, Unit::Count, "Requests refused because too many came before, by policy."),
    (EVENT_STREAMS_CUT, Unit::Count, "Readers of the event stream that were cut off because they were slow."),
    (PROBES, Unit::Count, "Probes of registered gateways by the monitor, by what was found."),
    (GATEWAY_TURNS, Unit::Count, "Registered gateways whose status turned, by what it turned to."),
    (JOBS_RUNNING, Unit::Count, "Jobs that this process works on now."),
    (JOBS_RUNNING_MAX, Unit::Count, "Jobs that this process may work on at once."),
    (
        QUEUE_DUE,
        Unit::Count,
        "Jobs that are due and that nobody works on, counted up to 10000; NaN: not known.",
    ),
    (QUEUE_AGE, Unit::Seconds, "For how long the oldest due job has been due, in seconds; NaN: not known."),
    (QUEUE_PAUSED, Unit::Count, "1 while an operator has paused the queue; NaN: not known."),
    (DATABASE_UP, Unit::Count, "1 if the database answered when this page was made, else 0."),
    (WAITING_CLIENTS, Unit::Count, "Clients that wait for an outcome in this process."),
    (STAGE_SECONDS, Unit::Seconds, "How long each stage of a gateway's provisioning took that was passed."),
    (JOB_SECONDS, Unit::Seconds, "How long a delivery of a job took, by kind."),
    (COMMIT_BATCH_SIZE, Unit::Count, "Commits that shared a transaction."),
    (COMMIT_SECONDS, Unit::Seconds, "How long a transaction of commits took."),
    (
        HTTP_REQUEST_SECONDS,
        Unit::Seconds,
        "How long requests took, by route, waiting for an outcome included.",
    ),
];

/// How a registration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// The gateway is registered.
    Succeeded,
    /// It is not, for this reason.
    Failed(Code),
    /// Somebody took it back.
    Cancelled,
}

/// What came of one attempt at a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The gateway is registered.
    Succeeded,
    /// It failed there, and another one follows.
    Retried(Stage),
    /// A person must approve our device; it is looked at again.
    AwaitingApproval(Stage),
    /// It failed there, and none follows.
    Failed(Stage),
}

/// What came of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It was worked through, whatever the outcome.
    Done,
    /// Another worker has the job.
    LeaseLost,
    /// A bug.
    Panicked,
}

/// Why a call to the database failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseError {
    /// There is no connection, or it broke.
    Lost,
    /// No answer in time.
    Timeout,
    /// The database said no.
    Refused,
    /// Anything else.
    Other,
}

impl Creation {
    const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Succeeded => ("succeeded", NONE),
            Self::Failed(code) => ("failed", code.as_str()),
            Self::Cancelled => ("cancelled", NONE),
        }
    }
}

impl Attempt {
    const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Succeeded => ("succeeded", NONE),
            Self::Retried(stage) => ("retried", stage.as_str()),
            Self::AwaitingApproval(stage) => ("awaiting_approval", stage.as_str()),
            Self::Failed(stage) => ("failed", stage.as_str()),
        }
    }
}

impl Delivery {
    const ALL: [Self; 3] = [Self::Done, Self::LeaseLost, Self::Panicked];

    /// The label, also for log lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::LeaseLost => "lease_lost",
            Self::Panicked => "panicked",
        }
    }
}

impl DatabaseError {
    const ALL: [Self; 4] = [Self::Lost, Self::Timeout, Self::Refused, Self::Other];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }
}

/// A registration ended. Count it when that is durable.
pub fn creation(ended: Creation) {
    creations(ended, 1);
}

fn creations(ended: Creation, more: u64) {
    let (outcome, code) = ended.labels();
    counter!(CREATIONS, "outcome" => outcome, "code" => code).increment(more);
}

/// An attempt ended. Count it when that is durable.
pub fn attempt(ended: Attempt) {
    attempts(ended, 1);
}

fn attempts(ended: Attempt, more: u64) {
    let (outcome, stage) = ended.labels();
    counter!(ATTEMPTS, "outcome" => outcome, "stage" => stage).increment(more);
}

/// A stage was passed.
pub fn stage(stage: Stage, took: Duration) {
    histogram!(STAGE_SECONDS, "stage" => stage.as_str()).record(took.as_secs_f64());
}

/// A delivery began; [`delivery_ended`] follows.
pub fn delivery_began() {
    gauge!(JOBS_RUNNING).increment(1.0);
}

/// A delivery that began is gone, cut off or not.
pub fn delivery_gone() {
    gauge!(JOBS_RUNNING).decrement(1.0);
}

/// A delivery ended by itself.
pub fn delivery_ended(kind: Kind, outcome: Delivery, took: Duration) {
    counter!(JOBS, "kind" => kind.as_str(), "outcome" => outcome.as_str()).increment(1);
    histogram!(JOB_SECONDS, "kind" => kind.as_str()).record(took.as_secs_f64());
}

/// A worker begins in this process, with so many permits.
pub fn worker_began(permits: u32) {
    gauge!(JOBS_RUNNING_MAX).set(f64::from(permits));
}

/// A call to the database failed.
pub fn database_error(kind: DatabaseError) {
    counter!(DATABASE_ERRORS, "kind" => kind.as_str()).increment(1);
}

/// A transaction is durable: so many of its commits were written, so many refused.
pub fn transaction((written, refused): (usize, usize), took: Duration) {
    counter!(COMMITS, "outcome" => "written").increment(small(written).into());
    counter!(COMMITS, "outcome" => "refused").increment(small(refused).into());
    histogram!(COMMIT_BATCH_SIZE).record(f64::from(small(written + refused)));
    histogram!(COMMIT_SECONDS).record(took.as_secs_f64());
}

/// So many commits were answered with an error of the database.
pub fn commits_failed(count: usize) {
    counter!(COMMITS, "outcome" => "failed").increment(small(count).into());
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What is looked up for each page of metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// Clients that wait.
    pub waiting: usize,
    /// Due jobs, for how long the oldest is, and whether the queue is paused; `None` if the database did not answer.
    pub queue: Option<(u32, Duration, bool)>,
}

/// Sets what a page of metrics shows as it is now.
pub fn levels(levels: Levels) {
    let flag = |is: bool| f64::from(u8::from(is));
    gauge!(WAITING_CLIENTS).set(f64::from(small(levels.waiting)));
    gauge!(DATABASE_UP).set(flag(levels.queue.is_some()));
    let (due, age, paused) = levels.queue.map_or((f64::NAN, f64::NAN, f64::NAN), |(due, age, is_paused)| {
        (f64::from(due), age.as_secs_f64(), flag(is_paused))
    });
    gauge!(QUEUE_DUE).set(due);
    gauge!(QUEUE_AGE).set(age);
    gauge!(QUEUE_PAUSED).set(paused);
}

/// A request was answered; status 499 where its client went away before. Methods that HTTP does not define are one.
pub fn request((method, route, status): (&str, &str, u16), took: Duration) {
    const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
    let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
    counter!(HTTP_REQUESTS, &labels).increment(1);
    histogram!(HTTP_REQUEST_SECONDS, "route" => route.to_owned()).record(took.as_secs_f64());
}

/// A request was refused because too many came before; `policy` is one of a few of ours.
pub fn rate_limited(policy: &'static str) {
    counter!(RATE_LIMITED, "policy" => policy).increment(1);
}

/// A reader of the event stream was cut off.
pub fn event_stream_cut() {
    counter!(EVENT_STREAMS_CUT).increment(1);
}

/// The monitor looked at a gateway.
pub fn probed(sight: Sight) {
    probes(sight, 1);
}

fn probes(sight: Sight, more: u64) {
    let found = match sight {
        Sight::Reached => "reached",
        Sight::Away => "away",
        Sight::Unusable => "unusable",
        Sight::Refused => "refused",
    };
    counter!(PROBES, "found" => found).increment(more);
}

/// A registered gateway's status turned.
pub fn gateway_turned(to: Health) {
    gateway_turns(to, 1);
}

fn gateway_turns(to: Health, more: u64) {
    counter!(GATEWAY_TURNS, "to" => to.status()).increment(more);
}

/// Collects metrics from now on; the handle renders them for Prometheus, and must be kept up (`run_upkeep`).
///
/// # Errors
///
/// [`BuildError`] if something else collects them already.
pub fn start() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    begin();
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let seconds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0];
    let counts = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &counts))
}

/// Describes every metric, and shows each at 0 before it first moves: an alert must not have to wait for that.
fn begin() {
    for (name, unit, help) in ALL {
        if name.ends_with("_total") {
            metrics::describe_counter!(name, unit, help);
        } else if name.ends_with("_size") || (name.ends_with("_seconds") && name != QUEUE_AGE) {
            metrics::describe_histogram!(name, unit, help);
        } else {
            metrics::describe_gauge!(name, unit, help);
        }
    }
    for ended in [Creation::Succeeded, Creation::Cancelled].into_iter().chain(Code::ALL.map(Creation::Failed))
    {
        creations(ended, 0);
    }
    attempts(Attempt::Succeeded, 0);
    for stage in Stage::ALL {
        for ended in [Attempt::Retried(stage), Attempt::Failed(stage)] {
            attempts(ended, 0);
        }
        // A handle without a sample: the series is there, with a count of 0.
        let _ = histogram!(STAGE_SECONDS, "stage" => stage.as_str());
    }
    attempts(Attempt::AwaitingApproval(Stage::Handshake), 0);
    for kind in Kind::ALL {
        for outcome in Delivery::ALL {
            counter!(JOBS, "kind" => kind.as_str(), "outcome" => outcome.as_str()).increment(0);
        }
        let _ = histogram!(JOB_SECONDS, "kind" => kind.as_str());
    }
    for kind in DatabaseError::ALL {
        counter!(DATABASE_ERRORS, "kind" => kind.as_str()).increment(0);
    }
    for outcome in ["written", "refused", "failed"] {
        counter!(COMMITS, "outcome" => outcome).increment(0);
    }
    for policy in ["address", "attempts", "token"] {
        counter!(RATE_LIMITED, "policy" => policy).increment(0);
    }
    counter!(EVENT_STREAMS_CUT).increment(0);
    for sight in [Sight::Reached, Sight::Away, Sight::Unusable, Sight::Refused] {
        probes(sight, 0);
    }
    for health in [Health::Online, Health::Degraded, Health::Offline] {
        gateway_turns(health, 0);
    }
    for gauge in [gauge!(JOBS_RUNNING), gauge!(JOBS_RUNNING_MAX)] {
        gauge.set(0.0);
    }
    let _ = (histogram!(COMMIT_BATCH_SIZE), histogram!(COMMIT_SECONDS));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_that_dashboards_know() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            begin();
            levels(Levels { waiting: 0, queue: Some((0, Duration::ZERO, false)) });
            request(("GET", "/healthz", 200), Duration::ZERO);
            request(("BREW", "none", 405), Duration::ZERO);
        });
        let page = handle.render();
        let mut series: Vec<&str> = page
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty() && !line.contains("_bucket{"))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, _)| series)
            .collect();
        series.sort_unstable();
        insta::assert_snapshot!(series.join("\n"));
        for (name, _, _) in ALL {
            assert!(page.contains(&format!("# HELP {name} ")), "{name} has no help text:\n{page}");
        }
    }
}
