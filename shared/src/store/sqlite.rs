//! The embedded store: one SQLite file, one writer that groups waiting commits, and a pool of readers.

mod agents;
mod commit;
mod load;
mod migrate;
mod operate;
mod parts;
mod probing;
mod queue;
mod registry;
mod rows;
mod seals;
mod shadows;
mod views;
mod writer;

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{
    ConnectOptions, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Notify, watch};

use super::{
    Claim, CommitError, Credential, Head, LocalWorker, MemberRow, OrganizationRow, Page, QueuedJob, Stats,
    Store, StoreError, StoredOperation,
    writer::{Signals, Writes},
};
use crate::{
    commit::{Commit, KeyClaim, Receipt, Sealed},
    domain::organization::Token,
    envelope::{Recorded, StreamId},
    ids::{AgentId, GatewayId, JobId, LeaseToken, OperationId, OrganizationId, TokenId},
    job::Lease,
};
use writer::{File, Other};

/// Connections that only read.
const READERS: u32 = 4;
/// KiB of the file that each of them keeps; what is not there is mostly in the system's memory anyway.
const READER_CACHE: &str = "-512";
/// Rows that SQLite's thread may be ahead of whoever reads: with few, the two wake each other up all the time.
const ROWS_AHEAD: usize = 1_000;

/// A SQLite file. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    writes: Writes<Other>,
    signals: Arc<Signals>,
}

impl SqliteStore {
    /// Opens the file, creates it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] or [`StoreError::Database`] if the file cannot be opened, [`StoreError::Migrate`] if its
    /// schema is newer than this program or damaged.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str("sqlite://")
            .map_err(StoreError::doing("read the database URL"))?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An answered commit survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(true)
            .pragma("journal_size_limit", "67108864")
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(StoreError::doing("open the database file"))?;
        migrate::run(&mut connection).await?;
        let head = commit::read_head(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(5))
            // A file does not hang up; asking first would double the way of every read.
            .test_before_acquire(false)
            .connect_with(
                options
                    .pragma("cache_size", READER_CACHE)
                    .row_buffer_size(ROWS_AHEAD)
                    .read_only(true)
                    .create_if_missing(false),
            )
            .await
            .map_err(StoreError::doing("open the database file for reading"))?;
        let signals = Arc::new(Signals::new(head.position));
        let writes = Writes::start(File::new(connection), Arc::clone(&signals));
        Ok(Self { readers, writes, signals })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, commit: Commit) -> Result<Receipt, CommitError> {
        self.writes.commit(commit).await
    }

    async fn load(&self, stream: &StreamId) -> Result<Vec<Recorded>, StoreError> {
        load::stream(&self.readers, stream, 0, u32::MAX).await
    }

    async fn stream_page(
        &self,
        stream: &StreamId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        load::stream(&self.readers, stream, after, limit).await
    }

    async fn log_page(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        load::log(&self.readers, after, limit).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let mut connection =
            self.readers.acquire().await.map_err(StoreError::doing("read the head of the log"))?;
        commit::read_head(&mut connection).await
    }

    fn positions(&self) -> watch::Receiver<u64> {
        self.signals.positions()
    }

    async fn gateway(&self, owner: OrganizationId, id: GatewayId) -> Result<Option<String>, StoreError> {
        views::gateway(&self.readers, owner, id).await
    }

    async fn gateways(&self, owner: OrganizationId, limit: u32, offset: u64) -> Result<Page, StoreError> {
        views::gateways(&self.readers, owner, limit, offset).await
    }

    async fn operations_page(
        &self,
        owner: OrganizationId,
        status: Option<&str>,
        before: Option<(DateTime<Utc>, OperationId)>,
        limit: u32,
    ) -> Result<Vec<StoredOperation>, StoreError> {
        views::operations_page(&self.readers, (owner, status), before, limit).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<StoredOperation>, StoreError> {
        Ok(views::operations(&self.readers, &[id]).await?.pop())
    }

    async fn operations(&self, ids: &[OperationId]) -> Result<Vec<StoredOperation>, StoreError> {
        views::operations(&self.readers, ids).await
    }

    async fn agent(&self, owner: OrganizationId, id: AgentId) -> Result<Option<String>, StoreError> {
        views::agent(&self.readers, owner, id).await
    }

    async fn agents(&self, owner: OrganizationId, limit: u32, offset: u64) -> Result<Page, StoreError> {
        agents::agents(&self.readers, owner, (limit, offset)).await
    }

    async fn check_in(&self, agent: AgentId, at: DateTime<Utc>) -> Result<Option<GatewayId>, StoreError> {
        self.writes.ask(|answer| Other::CheckIn { agent, at, answer }).await
    }

    async fn check_ins(&self, agents: &[AgentId]) -> Result<Vec<(AgentId, DateTime<Utc>)>, StoreError> {
        agents::check_ins(&self.readers, agents).await
    }

    async fn organizations(&self) -> Result<Vec<OrganizationRow>, StoreError> {
        views::organizations(&self.readers).await
    }

    async fn members(&self, owner: OrganizationId) -> Result<Vec<MemberRow>, StoreError> {
        views::members(&self.readers, owner).await
    }

    async fn tokens(&self, owner: Option<OrganizationId>) -> Result<Vec<Token>, StoreError> {
        views::tokens(&self.readers, owner).await
    }

    async fn token_owner(&self, id: TokenId) -> Result<Option<Option<OrganizationId>>, StoreError> {
        views::token_owner(&self.readers, id).await
    }

    async fn credential(&self, hash: &[u8]) -> Result<Option<Credential>, StoreError> {
        views::credential(&self.readers, hash).await
    }

    async fn key(
        &self,
        owner: OrganizationId,
        route: &str,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<KeyClaim>, StoreError> {
        views::key(&self.readers, (owner, route, key), now).await
    }

    async fn secret(&self, owner: &str) -> Result<Option<Sealed>, StoreError> {
        views::secret(&self.readers, owner).await
    }

    async fn installation_value(
        &self,
        name: &str,
        or_put: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        let or_put = or_put.map(str::to_owned);
        self.writes.ask(|answer| Other::InstallationValue { name, or_put, answer }).await
    }

    async fn observe(&self, gateway: GatewayId, document: String) -> Result<(), StoreError> {
        self.writes.ask(|answer| Other::Observe { gateway, document, answer }).await
    }

    async fn observation(&self, gateway: GatewayId) -> Result<Option<String>, StoreError> {
        views::observation(&self.readers, gateway).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Lease>, StoreError> {
        self.writes.ask(|answer| Other::Claim { claim, answer }).await
    }

    async fn renew(
        &self,
        held: &[(JobId, LeaseToken)],
        lease: Duration,
        now: DateTime<Utc>,
    ) -> Result<Vec<JobId>, StoreError> {
        let held = held.to_vec();
        self.writes.ask(|answer| Other::Renew { held, lease, now, answer }).await
    }

    async fn release(&self, held: &[(JobId, LeaseToken)]) -> Result<(), StoreError> {
        let held = held.to_vec();
        self.writes.ask(|answer| Other::Release { held, answer }).await?;
        self.signals.wake();
        Ok(())
    }

    async fn due_in(&self, now: DateTime<Utc>) -> Result<Option<Duration>, StoreError> {
        queue::due_in(&self.readers, now).await
    }

    async fn void_leases(&self) -> Result<u64, StoreError> {
        self.writes.ask(|answer| Other::VoidLeases { answer }).await
    }

    async fn jobs(&self) -> Result<Vec<QueuedJob>, StoreError> {
        queue::jobs(&self.readers).await
    }

    fn enqueued(&self) -> Arc<Notify> {
        self.signals.enqueued()
    }

    fn attach(&self, worker: Option<LocalWorker>) {
        self.signals.attach(worker);
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select position from log_head")
            .execute(&self.readers)
            .await
            .map(|_| ())
            .map_err(StoreError::doing("answer a readiness check"))
    }

    fn stats(&self) -> Stats {
        self.signals.stats()
    }

    async fn close(&self) {
        self.writes.close().await;
        self.readers.close().await;
    }
}
