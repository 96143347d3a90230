//! The one writer: takes what waits, writes the commits of it in one transaction, then the rest one by one.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::{Shared, commit, queue, views};
use crate::{
    commit::{Commit, Receipt},
    ids::{JobId, LeaseToken},
    job::Lease,
    store::{BATCH_BYTES_MAX, BATCH_COMMITS_MAX, Claim, CommitError, HandedOver, StoreError},
};

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(super) enum Write {
    Commit { commit: Box<Commit>, answer: oneshot::Sender<Result<Receipt, CommitError>> },
    Claim { claim: Claim, answer: Answer<Vec<Lease>> },
    Renew { held: Vec<(JobId, LeaseToken)>, lease: Duration, now: DateTime<Utc>, answer: Answer<Vec<JobId>> },
    Release { held: Vec<(JobId, LeaseToken)>, answer: Answer<()> },
    VoidLeases { answer: Answer<u64> },
    InstallationValue { name: String, or_put: Option<String>, answer: Answer<Option<String>> },
    Close { answer: oneshot::Sender<()> },
}

/// Owns the only connection that writes.
pub(super) struct Writer {
    connection: SqliteConnection,
    shared: Arc<Shared>,
}

type Waiting = (Commit, oneshot::Sender<Result<Receipt, CommitError>>);

impl Writer {
    pub(super) fn new(connection: SqliteConnection, shared: Arc<Shared>) -> Self {
        Self { connection, shared }
    }

    /// Runs until the store is closed or dropped.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Write>) {
        let mut taken = Vec::with_capacity(BATCH_COMMITS_MAX);
        while waiting.recv_many(&mut taken, BATCH_COMMITS_MAX).await > 0 {
            let mut batch = vec![];
            let mut bytes = 0;
            let mut close = None;
            for write in taken.drain(..) {
                match write {
                    Write::Commit { commit, answer } => {
                        if bytes + commit.bytes() > BATCH_BYTES_MAX && !batch.is_empty() {
                            self.commit(std::mem::take(&mut batch)).await;
                            bytes = 0;
                        }
                        bytes += commit.bytes();
                        batch.push((*commit, answer));
                    }
                    Write::Close { answer } => close = Some(answer),
                    write @ (Write::Claim { .. }
                    | Write::Renew { .. }
                    | Write::Release { .. }
                    | Write::VoidLeases { .. }
                    | Write::InstallationValue { .. }) => self.single(write).await,
                }
            }
            if !batch.is_empty() {
                self.commit(batch).await;
            }
            if let Some(answer) = close {
                let _ = sqlx::query("pragma optimize").execute(&mut self.connection).await;
                let _ = self.connection.close().await;
                let _ = answer.send(());
                return;
            }
        }
    }

    /// One transaction for all; if a unique key is hit in spite of the plan, each again in its own.
    async fn commit(&mut self, batch: Vec<Waiting>) {
        let (commits, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        match self.transaction(commits.clone()).await {
            Ok(results) => {
                for (answer, result) in answers.into_iter().zip(results) {
                    let _ = answer.send(result);
                }
            }
            Err(error) if is_unique_violation(&error) && commits.len() > 1 => {
                tracing::error!(
                    commits = commits.len(),
                    error = crate::chain::chain(&error),
                    "a batch hit a unique key that the plan should have seen; writing its commits one by one"
                );
                for (commit, answer) in commits.into_iter().zip(answers) {
                    Box::pin(self.commit(vec![(commit, answer)])).await;
                }
            }
            Err(error) => {
                let source = Arc::new(error);
                metrics::counter!("mission_control_database_errors_total").increment(1);
                for (commit, answer) in commits.into_iter().zip(answers) {
                    let _ = answer
                        .send(Err(CommitError::Store { stream: commit.stream, source: Arc::clone(&source) }));
                }
            }
        }
    }

    async fn transaction(
        &mut self,
        commits: Vec<Commit>,
    ) -> Result<Vec<Result<Receipt, CommitError>>, StoreError> {
        let count = commits.len();
        let local = self.shared.local();
        let plan = commit::write(&mut self.connection, commits, local.as_ref()).await?;
        self.shared.transactions.fetch_add(1, Relaxed);
        self.shared.commits.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
        metrics::counter!("mission_control_commits_total")
            .increment(u64::try_from(count).unwrap_or(u64::MAX));
        metrics::histogram!("mission_control_commit_batch_size")
            .record(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        self.shared.position.send_if_modified(|position| {
            let moved = *position != plan.head.position;
            *position = plan.head.position;
            moved
        });
        let left_in_queue = plan.jobs.len() > plan.handed_over.len()
            || plan.finishes.iter().any(|finish| finish.then != crate::commit::Then::Delete)
            || !plan.finishes.is_empty();
        if let Some(local) = local {
            for (lease, permit) in plan.handed_over {
                // A worker that is gone lets the lease run out, and the next one takes the job.
                let _ = local.jobs.send(HandedOver { lease, permit });
            }
        }
        if left_in_queue {
            self.shared.enqueued.notify_one();
        }
        Ok(plan.answers)
    }

    async fn single(&mut self, write: Write) {
        let connection = &mut self.connection;
        match write {
            Write::Claim { claim, answer } => drop(answer.send(queue::claim(connection, &claim).await)),
            Write::Renew { held, lease, now, answer } => {
                drop(answer.send(queue::renew(connection, &held, lease, now).await));
            }
            Write::Release { held, answer } => {
                let released = queue::release(connection, &held).await;
                self.shared.enqueued.notify_one();
                drop(answer.send(released));
            }
            Write::VoidLeases { answer } => drop(answer.send(queue::void_leases(connection).await)),
            Write::InstallationValue { name, or_put, answer } => {
                drop(answer.send(views::installation_value(connection, &name, or_put.as_deref()).await));
            }
            Write::Commit { .. } | Write::Close { .. } => {}
        }
    }
}

fn is_unique_violation(error: &StoreError) -> bool {
    let StoreError::Database { source, .. } = error else { return false };
    source.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
