//! What the writer of a SQLite file does beside commits: all that changes the queue, for there is one writer.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, SqliteConnection};

use super::{agents, commit, queue, views};
use crate::{
    commit::Commit,
    ids::{AgentId, GatewayId, JobId, LeaseToken},
    job::Lease,
    store::{
        Claim, LocalWorker, StoreError,
        writer::{Answer, Database, Written},
    },
};

/// Whatever else is to be done on the only connection that writes.
pub(super) type Task =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> + Send>;

/// A write that is not a commit.
pub(super) enum Other {
    Task(Task),
    LazyTask(Task),
    Claim { claim: Claim, answer: Answer<Vec<Lease>> },
    Renew { held: Vec<(JobId, LeaseToken)>, lease: Duration, now: DateTime<Utc>, answer: Answer<Vec<JobId>> },
    Release { held: Vec<(JobId, LeaseToken)>, answer: Answer<()> },
    VoidLeases { answer: Answer<u64> },
    InstallationValue { name: String, or_put: Option<String>, answer: Answer<Option<String>> },
    CheckIn { agent: AgentId, at: DateTime<Utc>, answer: Answer<Option<GatewayId>> },
    Observe { gateway: GatewayId, document: String, answer: Answer<()> },
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Other")
    }
}

impl Other {
    /// What may be lost with the power: a start voids every lease, and what was observed is observed again; a shadow is
    /// filled once more from where it stands. Such a write does not wait for the disk; the next commit takes it along.
    fn is_lazy(&self) -> bool {
        match self {
            Self::Claim { .. }
            | Self::Renew { .. }
            | Self::Release { .. }
            | Self::VoidLeases { .. }
            | Self::CheckIn { .. }
            | Self::Observe { .. }
            | Self::LazyTask(_) => true,
            Self::Task(_) | Self::InstallationValue { .. } => false,
        }
    }
}

/// The only connection that writes.
pub(super) struct File {
    connection: SqliteConnection,
    is_lazy: bool,
}

impl File {
    /// Of a connection whose writes are durable when they return.
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self { connection, is_lazy: false }
    }

    /// Whether the next writes wait for the disk.
    async fn set_lazy(&mut self, is_lazy: bool) -> Result<(), StoreError> {
        if self.is_lazy != is_lazy {
            let how = if is_lazy { "pragma synchronous = normal" } else { "pragma synchronous = full" };
            let set = sqlx::query(how).execute(&mut self.connection).await;
            set.map_err(StoreError::doing("tell whether a write waits for the disk"))?;
            self.is_lazy = is_lazy;
        }
        Ok(())
    }
}

impl Database for File {
    type Other = Other;

    async fn write(&mut self, batch: &[Commit], local: Option<&LocalWorker>) -> Result<Written, StoreError> {
        self.set_lazy(false).await?;
        let plan = commit::write(&mut self.connection, batch, local).await?;
        let wakes = plan.leaves_work();
        Ok(Written { plan, wakes })
    }

    async fn other(&mut self, write: Other) {
        if self.set_lazy(write.is_lazy()).await.is_err() && self.is_lazy {
            // Its caller is told that there is no answer, rather than that it is durable.
            return;
        }
        let connection = &mut self.connection;
        match write {
            Other::Task(task) | Other::LazyTask(task) => task(connection).await,
            Other::Claim { claim, answer } => drop(answer.send(queue::claim(connection, &claim).await)),
            Other::Renew { held, lease, now, answer } => {
                drop(answer.send(queue::renew(connection, &held, lease, now).await));
            }
            Other::Release { held, answer } => drop(answer.send(queue::release(connection, &held).await)),
            Other::VoidLeases { answer } => drop(answer.send(queue::void_leases(connection).await)),
            Other::CheckIn { agent, at, answer } => {
                drop(answer.send(agents::check_in(connection, agent, at).await));
            }
            Other::Observe { gateway, document, answer } => {
                drop(answer.send(views::observe(connection, gateway, &document).await));
            }
            Other::InstallationValue { name, or_put, answer } => {
                drop(answer.send(views::installation_value(connection, &name, or_put.as_deref()).await));
            }
        }
    }

    async fn close(mut self) {
        let _ = sqlx::query("pragma optimize").execute(&mut self.connection).await;
        let _ = self.connection.close().await;
    }
}
