//! Where everything is kept. Two implementations, one behaviour: the conformance suite is its definition.

mod location;
mod operate;
pub mod plan;
pub mod postgres;
mod probing;
mod refused;
mod registry;
mod seals;
mod shadows;
pub mod sqlite;
mod stored;
mod writer;

pub use location::Location;
pub use operate::{Backlog, Checkpoint, DUE_COUNTED_MAX, EventFilter, Operate, Pause};
pub use probing::{DueProbe, NewProbe, ProbeClaim, Probed, Probing, Tidied, Unprobed};

pub use refused::CommitError;
pub use registry::{FORGOTTEN_AFTER, Orders, Process, ProcessKind, Registry, Report};
pub use seals::{KEY_CHECK, NEXT_KEY_CHECK, Reseal, Seals};
pub use shadows::{CATCH_UP_MAX, CatchUp, Difference, Finished, Pace, Pauses, Shadows, Swap};

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::{
    commit::{Commit, KeyClaim, Receipt, Sealed},
    domain::organization::{Role, Token},
    envelope::{Hash, Recorded, StreamId},
    ids::{AgentId, GatewayId, JobId, LeaseToken, MemberId, OperationId, OrganizationId, TokenId},
    job::{Job, Lease},
    meter::{self, DatabaseError},
};

/// Most commits that share a transaction.
pub const BATCH_COMMITS_MAX: usize = 256;
/// Most bytes that share a transaction, roughly.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The database failed, or holds what this program cannot read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The driver's error: the database is away, full, locked or damaged.
    #[error("the database failed while it was asked to {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("the database schema could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A stored value is not what this program writes.
    #[error("the database holds a {what} that this program cannot read: {value:?}")]
    Unreadable {
        /// What it should be.
        what: &'static str,
        /// What it is; never a secret.
        value: String,
    },
    /// The file cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A setting names no database that can be used.
    #[error("{problem}")]
    Setting {
        /// What is wrong and what to do; never the credentials of a URL.
        problem: String,
    },
    /// The database has not been reached, or not been brought up to date, since this process started. It is tried again
    /// and again.
    #[error("the database could not be opened yet")]
    NotOpen {
        /// What the last try ended with.
        #[source]
        source: Arc<StoreError>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the database is away or busy, so that the same may succeed later.
    #[must_use]
    pub fn is_away(&self) -> bool {
        use sqlx::migrate::MigrateError;
        match self {
            Self::Database { .. } | Self::Closed => true,
            Self::NotOpen { source } => source.is_away(),
            // A connection that was lost, as against a schema that does not fit.
            Self::Migrate(error) => {
                matches!(error, MigrateError::Execute(_) | MigrateError::ExecuteMigration(..))
            }
            Self::Unreadable { .. } | Self::File { .. } | Self::Setting { .. } => false,
        }
    }

    /// Whether the database did not answer in time. Who asks next would most likely wait as long for nothing.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Database { source: sqlx::Error::Io(error), .. } => {
                error.kind() == std::io::ErrorKind::TimedOut
            }
            Self::NotOpen { source } => source.is_silence(),
            Self::Database { .. }
            | Self::Closed
            | Self::Migrate(_)
            | Self::Unreadable { .. }
            | Self::File { .. }
            | Self::Setting { .. } => false,
        }
    }

    /// Names what was being done when the driver failed, and counts it: every error of a driver comes by here.
    pub fn doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| {
            meter::database_error(kind(&source));
            Self::Database { doing, source }
        }
    }
}

fn kind(error: &sqlx::Error) -> DatabaseError {
    if let sqlx::Error::Database(refused) = error {
        let code = refused.code().unwrap_or_default();
        return match code.as_ref() {
            // PostgreSQL's cancelled statement and lock that was not to be had; SQLite's busy file.
            "57014" | "55P03" | "5" => DatabaseError::Timeout,
            // PostgreSQL's shut down, crashed, and starting.
            "57P01" | "57P02" | "57P03" => DatabaseError::Lost,
            _ => DatabaseError::Refused,
        };
    }
    let is_late = matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut);
    if is_late || matches!(error, sqlx::Error::PoolTimedOut) {
        return DatabaseError::Timeout;
    }
    let is_lost = matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    );
    if is_lost { DatabaseError::Lost } else { DatabaseError::Other }
}

/// Does it again and again while the database is away: at the start of a process that must not end because of that.
///
/// # Errors
///
/// Any other failure, at once.
pub async fn insist<T, E: std::error::Error, F: Future<Output = Result<T, E>>>(
    attempt: impl FnMut() -> F,
    is_away: fn(&E) -> bool,
) -> Result<T, E> {
    use backon::{ExponentialBuilder, Retryable as _};
    let pauses = ExponentialBuilder::default()
        .with_min_delay(std::time::Duration::from_millis(100))
        // Jitter doubles a pause at most. Together with the store's own pauses this stays below the 5 s in which a
        // process is ready again.
        .with_max_delay(std::time::Duration::from_millis(500))
        .without_max_times()
        .with_jitter();
    let warn = |error: &E, pause| {
        tracing::warn!(error = crate::chain::chain(error), ?pause, "the database is away; trying again");
    };
    attempt.retry(pauses).when(is_away).notify(warn).await
}

/// A page of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// JSON documents, newest first.
    pub items: Vec<String>,
    /// How many there are in all.
    pub total: u64,
}

/// An operation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOperation {
    /// Its id.
    pub id: OperationId,
    /// Whose.
    pub organization: OrganizationId,
    /// Stored status.
    pub status: String,
    /// JSON of an `OperationRead`.
    pub document: String,
    /// A worker holds its job now.
    pub running: bool,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

/// Who a credential belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API token.
    Token {
        /// Its organization; `None` for the operator's own.
        organization: Option<OrganizationId>,
        /// What it may do.
        token: Token,
        /// Its member's name and role, if that still exists.
        member: Option<(String, Role)>,
    },
    /// A main agent's token.
    Agent {
        /// Which agent.
        agent: AgentId,
    },
}

/// The end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Of the last event; 0 for an empty log.
    pub position: u64,
    /// Of the last event.
    pub hash: Hash,
}

/// What to claim.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Stored with the lease, for people.
    pub worker: String,
    /// Most jobs to take.
    pub permits: u32,
    /// How long the lease is.
    pub lease: std::time::Duration,
    /// Now, for a store without a clock of its own; one that several hosts share goes by the database's.
    pub now: DateTime<Utc>,
}

/// A job on its way to the worker in this process, with the permit it runs under.
#[derive(Debug)]
pub struct HandedOver {
    /// The job.
    pub lease: Lease,
    /// Until when the lease surely is this worker's: counted from before the database was asked for it.
    pub until: std::time::Instant,
    /// Given back when the job ends.
    pub permit: OwnedSemaphorePermit,
}

/// The worker in this process: a commit may lease a job to it before it is written, and hand it over in memory.
#[derive(Debug, Clone)]
pub struct LocalWorker {
    /// Stored with the lease.
    pub worker: String,
    /// Its free permits.
    pub permits: Arc<Semaphore>,
    /// How long a lease is.
    pub lease: std::time::Duration,
    /// Where the jobs go.
    pub jobs: mpsc::UnboundedSender<HandedOver>,
}

/// Counters since the store was opened, for tests and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Transactions that wrote commits.
    pub transactions: u64,
    /// Commits in them, refused ones included.
    pub commits: u64,
}

/// A row of the queue, for people and tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedJob {
    /// The job.
    pub job: Job,
    /// Who holds it, until when.
    pub leased: Option<(String, DateTime<Utc>)>,
}

/// An organization as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationRow {
    /// Its id.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    /// When it was founded.
    pub created_at: DateTime<Utc>,
}

/// A member as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// Its id.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// The event log, the read models, the queue, the secrets and the keys of one installation.
///
/// Every method fails with [`StoreError`] when the database does; nothing panics.
#[async_trait]
pub trait Store: Operate + Probing + Registry + Seals + Shadows + std::fmt::Debug + Send + Sync {
    /// Writes a commit, together with others that wait: durable when it returns.
    async fn commit(&self, commit: Commit) -> Result<Receipt, CommitError>;
    /// A whole stream, in order.
    async fn load(&self, stream: &StreamId) -> Result<Vec<Recorded>, StoreError>;
    /// A page of a stream after a global position.
    async fn stream_page(
        &self,
        stream: &StreamId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError>;
    /// A page of the whole log after a global position.
    async fn log_page(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError>;
    /// The end of the log, as `log_head` has it.
    async fn head(&self) -> Result<Head, StoreError>;
    /// Follows the log's position as far as this process knows it: a hint, never a proof.
    fn positions(&self) -> watch::Receiver<u64>;

    /// A registered gateway's document.
    async fn gateway(&self, owner: OrganizationId, id: GatewayId) -> Result<Option<String>, StoreError>;
    /// A page of an organization's gateways, newest first.
    async fn gateways(&self, owner: OrganizationId, limit: u32, offset: u64) -> Result<Page, StoreError>;
    /// A page of an organization's operations, newest first; of one status, and older than a cursor, where given.
    async fn operations_page(
        &self,
        owner: OrganizationId,
        status: Option<&str>,
        before: Option<(DateTime<Utc>, OperationId)>,
        limit: u32,
    ) -> Result<Vec<StoredOperation>, StoreError>;
    /// An operation.
    async fn operation(&self, id: OperationId) -> Result<Option<StoredOperation>, StoreError>;
    /// Several operations in one query, in no order.
    async fn operations(&self, ids: &[OperationId]) -> Result<Vec<StoredOperation>, StoreError>;
    /// A main agent's document.
    async fn agent(&self, owner: OrganizationId, id: AgentId) -> Result<Option<String>, StoreError>;
    /// A page of an organization's main agents, newest first.
    async fn agents(&self, owner: OrganizationId, limit: u32, offset: u64) -> Result<Page, StoreError>;
    /// Keeps that an agent called: an observation, not an event. Returns its gateway where the log does not say yet that
    /// the agent calls. One statement.
    async fn check_in(&self, agent: AgentId, at: DateTime<Utc>) -> Result<Option<GatewayId>, StoreError>;
    /// When each of these agents last called, in one query; those that never did are left out.
    async fn check_ins(&self, agents: &[AgentId]) -> Result<Vec<(AgentId, DateTime<Utc>)>, StoreError>;
    /// Every organization, oldest first.
    async fn organizations(&self) -> Result<Vec<OrganizationRow>, StoreError>;
    /// An organization's members, oldest first.
    async fn members(&self, owner: OrganizationId) -> Result<Vec<MemberRow>, StoreError>;
    /// Tokens of an organization; `None` for the operator's own.
    async fn tokens(&self, owner: Option<OrganizationId>) -> Result<Vec<Token>, StoreError>;
    /// The owner of a token, if there is one.
    async fn token_owner(&self, id: TokenId) -> Result<Option<Option<OrganizationId>>, StoreError>;
    /// Who a token hash belongs to.
    async fn credential(&self, hash: &[u8]) -> Result<Option<Credential>, StoreError>;
    /// A key that is still kept at `now`.
    async fn key(
        &self,
        owner: OrganizationId,
        route: &str,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<KeyClaim>, StoreError>;
    /// A sealed secret.
    async fn secret(&self, owner: &str) -> Result<Option<Sealed>, StoreError>;
    /// Puts a value of the installation unless there is one, and returns the one that stands.
    async fn installation_value(
        &self,
        name: &str,
        or_put: Option<&str>,
    ) -> Result<Option<String>, StoreError>;

    /// Keeps what was last seen of a gateway: a JSON document that replaces the one before.
    async fn observe(&self, gateway: GatewayId, document: String) -> Result<(), StoreError>;
    /// What was last seen of a gateway.
    async fn observation(&self, gateway: GatewayId) -> Result<Option<String>, StoreError>;

    /// Leases due jobs: none whose gateway key is leased, at most one per key.
    async fn claim(&self, claim: Claim) -> Result<Vec<Lease>, StoreError>;
    /// Renews leases in one statement and returns the jobs that are still held.
    async fn renew(
        &self,
        held: &[(JobId, LeaseToken)],
        lease: std::time::Duration,
        now: DateTime<Utc>,
    ) -> Result<Vec<JobId>, StoreError>;
    /// Hands leases back: the jobs are due at once, and no lease counts as lost.
    async fn release(&self, held: &[(JobId, LeaseToken)]) -> Result<(), StoreError>;
    /// How long it is until the next job is due or the next lease ends; `None` for an empty queue.
    async fn due_in(&self, now: DateTime<Utc>) -> Result<Option<std::time::Duration>, StoreError>;
    /// Voids every lease, at the start of the only process of an embedded installation, and returns how many. A store
    /// that several processes share voids none: a lease may be another's.
    async fn void_leases(&self) -> Result<u64, StoreError>;
    /// The whole queue.
    async fn jobs(&self) -> Result<Vec<QueuedJob>, StoreError>;
    /// Woken when a commit enqueued a job that was not handed over: one of this process, or, where the store is shared,
    /// of any other.
    fn enqueued(&self) -> Arc<Notify>;
    /// Lets commits hand jobs to the worker in this process; `None` ends that.
    fn attach(&self, worker: Option<LocalWorker>);

    /// Really asks the database.
    async fn ping(&self) -> Result<(), StoreError>;
    /// Counters.
    fn stats(&self) -> Stats;
    /// Ends what waits, then closes the database.
    async fn close(&self);
}
