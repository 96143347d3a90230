//! What a batch of commits writes, decided in memory under the head lock; the same for every database.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;

use super::CommitError;
use super::{Head, LocalWorker};
use crate::{
    commit::{
        Commit, CredentialChange, InstallationChange, JobChange, KEY_KEPT_HOURS, KeyClaim, Receipt,
        SecretChange, Then,
    },
    envelope::{Hash, Recorded, StreamId},
    ids::{AgentId, GatewayId, JobId, LeaseToken, MemberId, OperationId, OrganizationId, TokenId},
    job::{Job, Lease},
    view::Row,
};

/// A job that runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// Which.
    pub job: JobId,
    /// Not before.
    pub at: DateTime<Utc>,
    /// How long after the decision that is, for a store that has a clock of its own.
    pub delay: Duration,
    /// As this attempt.
    pub attempt: u32,
}

/// What identifies an idempotency key.
pub type KeyId = (OrganizationId, String, String);

/// What was read under the head lock: everything that the batch touches.
#[derive(Debug, Default)]
pub struct Facts {
    /// The end of the log.
    pub head: Head,
    /// Version of each stream that has events.
    pub versions: HashMap<StreamId, u64>,
    /// Keys that are there.
    pub keys: HashMap<KeyId, KeyClaim>,
    /// Lease token of each job that is there and leased.
    pub leases: HashMap<JobId, LeaseToken>,
    /// Gateway keys that have a job already.
    pub queued_keys: HashSet<String>,
    /// Nothing is handed over while the queue is paused.
    pub is_paused: bool,
}

/// A job to insert, leased to the local worker if it is handed over.
#[derive(Debug)]
pub struct JobInsert {
    /// The job.
    pub job: Job,
    /// How long after the decision it is due, for a store that has a clock of its own.
    pub delay: Duration,
    /// The lease's token, if it is handed over.
    pub leased: Option<LeaseToken>,
}

/// Everything to write, and what to answer.
#[derive(Debug, Default)]
pub struct Plan {
    /// The log's end afterwards.
    pub head: Head,
    /// Events in order.
    pub events: Vec<Recorded>,
    /// One per table and id.
    pub rows: Vec<Row>,
    /// Jobs.
    pub jobs: Vec<JobInsert>,
    /// Jobs that are done.
    pub done: Vec<JobId>,
    /// Jobs that run again.
    pub again: Vec<Again>,
    /// Keys.
    pub keys: Vec<KeyClaim>,
    /// Secrets, in order.
    pub secrets: Vec<SecretChange>,
    /// Credentials, in order.
    pub credentials: Vec<CredentialChange>,
    /// Values of the installation, in order.
    pub installation: Vec<InstallationChange>,
    /// One answer per commit, in the order of the batch.
    pub answers: Vec<Result<Receipt, CommitError>>,
    /// What goes to the local worker once the transaction is durable.
    pub handed_over: Vec<(Lease, OwnedSemaphorePermit)>,
}

/// Numbers, hashes and chains what is accepted; refuses the rest, each alone.
#[must_use]
pub fn plan(batch: Vec<Commit>, mut facts: Facts, local: Option<&LocalWorker>) -> Plan {
    let mut plan = Plan { head: facts.head, ..Plan::default() };
    let mut rows = Latest::default();
    for commit in batch {
        let answer = match refuse(&commit, &facts, plan.head) {
            Some(refused) => Err(refused),
            None => Ok(accept(commit, &mut facts, &mut plan, &mut rows)),
        };
        plan.answers.push(answer);
    }
    plan.rows = rows.in_order();
    if let Some(local) = local.filter(|_| !facts.is_paused) {
        hand_over(&mut plan, &facts, local);
    }
    plan
}

fn refuse(commit: &Commit, facts: &Facts, head: Head) -> Option<CommitError> {
    if commit.only_on_empty_log && head.position > 0 {
        return Some(CommitError::NotEmpty);
    }
    if let Some(key) = &commit.key
        && let Some(taken) = facts.keys.get(&key_id(key))
        && key.created_at - taken.created_at < chrono::TimeDelta::hours(KEY_KEPT_HOURS)
    {
        return Some(CommitError::KeyTaken {
            operation: taken.operation,
            fingerprint: taken.fingerprint.clone(),
        });
    }
    if let Some(finish) = &commit.finish
        && facts.leases.get(&finish.job) != Some(&finish.token)
    {
        return Some(CommitError::LeaseLost { job: finish.job });
    }
    if let Some(held) = commit.changed_jobs.iter().find(|change| facts.leases.contains_key(&change.job())) {
        return Some(CommitError::LeaseLost { job: held.job() });
    }
    let actual = facts.versions.get(&commit.stream).copied().unwrap_or(0);
    if actual != commit.expected {
        return Some(CommitError::Conflict {
            stream: commit.stream.clone(),
            expected: commit.expected,
            actual,
        });
    }
    None
}

fn key_id(key: &KeyClaim) -> KeyId {
    (key.organization, key.route.clone(), key.key.clone())
}

fn accept(commit: Commit, facts: &mut Facts, plan: &mut Plan, rows: &mut Latest) -> Receipt {
    let mut version = commit.expected;
    let mut last_event = None;
    for event in commit.events {
        version += 1;
        last_event = Some(event.event_id);
        let mut recorded = Recorded {
            position: plan.head.position + 1,
            event_id: event.event_id,
            stream: commit.stream.clone(),
            version,
            event_type: event.event_type,
            schema_version: event.schema_version,
            organization: commit.organization,
            data: event.data,
            metadata: event.metadata,
            recorded_at: commit.recorded_at,
            hash: Hash::default(),
        };
        recorded.hash = recorded.hash_after(plan.head.hash);
        plan.head = Head { position: recorded.position, hash: recorded.hash };
        plan.events.push(recorded);
    }
    facts.versions.insert(commit.stream, version);
    commit.rows.into_iter().for_each(|row| rows.put(row));
    if let Some(finish) = commit.finish {
        // The delivery ends here, whatever becomes of the row: a second commit for it is refused.
        facts.leases.remove(&finish.job);
        match finish.then {
            Then::Delete => plan.done.push(finish.job),
            Then::RunAt { at, attempt } => {
                let delay = delay(at, commit.recorded_at);
                plan.again.push(Again { job: finish.job, at, delay, attempt });
            }
        }
    }
    for change in commit.changed_jobs {
        match change {
            JobChange::Drop { job } => plan.done.push(job),
            JobChange::RunNow { job, attempt } => {
                let at = commit.recorded_at;
                plan.again.push(Again { job, at, delay: Duration::ZERO, attempt });
            }
        }
    }
    if let Some(key) = commit.key {
        facts.keys.insert(key_id(&key), key.clone());
        plan.keys.push(key);
    }
    plan.jobs.extend(commit.jobs.into_iter().map(|job| {
        let delay = delay(job.run_at, commit.recorded_at);
        JobInsert { job, delay, leased: None }
    }));
    plan.secrets.extend(commit.secrets);
    plan.credentials.extend(commit.credentials);
    plan.installation.extend(commit.installation);
    Receipt { position: plan.head.position, version, last_event }
}

/// Of each table and id the row that was written last, in the order of the writes.
#[derive(Debug, Default)]
struct Latest {
    rows: HashMap<RowId, (usize, Row)>,
    writes: usize,
}

impl Latest {
    fn put(&mut self, row: Row) {
        self.writes += 1;
        self.rows.insert(RowId::from(&row), (self.writes, row));
    }

    fn in_order(self) -> Vec<Row> {
        let mut rows: Vec<(usize, Row)> = self.rows.into_values().collect();
        rows.sort_by_key(|(write, _)| *write);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// Of each table and id the row that was written last, in the order of the writes.
#[must_use]
pub fn last_of_each(rows: Vec<Row>) -> Vec<Row> {
    let mut latest = Latest::default();
    for row in rows {
        latest.put(row);
    }
    latest.in_order()
}

/// What a row is the row of; a gateway that is gone has the place of the gateway.
#[derive(Debug, PartialEq, Eq, Hash)]
enum RowId {
    Gateway(GatewayId),
    Operation(OperationId),
    Agent(AgentId),
    Organization(OrganizationId),
    Member(MemberId),
    Token(TokenId),
    QueuePause,
    WorkerDrain(String),
}

impl From<&Row> for RowId {
    fn from(row: &Row) -> Self {
        match row {
            Row::Gateway { id, .. } | Row::GatewayGone { id, .. } => Self::Gateway(*id),
            Row::Operation { id, .. } => Self::Operation(*id),
            Row::Agent { id, .. } => Self::Agent(*id),
            Row::Organization { id, .. } => Self::Organization(*id),
            Row::Member { id, .. } => Self::Member(*id),
            Row::Token { id, .. } => Self::Token(*id),
            Row::QueuePause(_) => Self::QueuePause,
            Row::WorkerDrain { worker, .. } => Self::WorkerDrain(worker.clone()),
        }
    }
}

/// Leases new jobs to the local worker while it has permits and nothing else is queued for their gateway key.
fn hand_over(plan: &mut Plan, facts: &Facts, local: &LocalWorker) {
    let Some(now) = plan.events.last().map(|event| event.recorded_at) else { return };
    let mut known = facts.queued_keys.clone();
    for insert in &mut plan.jobs {
        let is_first = known.insert(insert.job.gateway_key.clone());
        if !is_first || insert.job.run_at > now {
            continue;
        }
        let Ok(permit) = std::sync::Arc::clone(&local.permits).try_acquire_owned() else { return };
        let token = LeaseToken::mint(now);
        insert.leased = Some(token);
        plan.handed_over.push((Lease { job: insert.job.clone(), token, lost_leases: 0 }, permit));
    }
}

fn delay(at: DateTime<Utc>, decided_at: DateTime<Utc>) -> Duration {
    (at - decided_at).to_std().unwrap_or_default()
}

impl Plan {
    /// Whether there may be a job to take afterwards: one that was not handed over, or one whose gateway key is free.
    #[must_use]
    pub fn leaves_work(&self) -> bool {
        self.jobs.len() > self.handed_over.len() || !self.done.is_empty() || !self.again.is_empty()
    }
}
