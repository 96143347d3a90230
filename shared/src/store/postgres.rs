//! The store of a fleet: one `PostgreSQL` database, any number of processes, and no state of our own between them.
//!
//! A process has one connection that commits (`writer`), a few that read and a few for leases (`connections`), and
//! one that listens (`listen`). Each is replaced when it fails; nothing ends because the database is away.

mod agents;
mod commit;
mod connections;
mod copy;
mod health;
mod insert;
mod listen;
mod load;
mod migrate;
mod opening;
mod operate;
mod probing;
mod queue;
mod registry;
mod rows;
mod seals;
mod server;
mod shadows;
mod views;
mod writer;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::{
    sync::{Mutex, Notify, watch},
    task::AbortHandle,
    time::timeout,
};

pub use self::server::Server;
use self::{
    connections::{Connector, Lines, Statement, Use, too_late},
    health::Health,
    opening::{Background, Opening},
    writer::{Other, Session},
};
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

/// Connections for claims, renewals and hand-backs, which no reader can take away.
const QUEUE_LINES: usize = 2;
/// How long a readiness check, or a call before the database was ever reached, waits for an answer.
const READY: Duration = Duration::from_secs(3);

/// A `PostgreSQL` database. Cheap to share behind an `Arc`.
pub struct PostgresStore {
    place: String,
    origin: String,
    takeover_after: Duration,
    reads: Arc<Lines>,
    queue: Lines,
    rebuild: Mutex<Option<PgConnection>>,
    writes: Writes<Other>,
    signals: Arc<Signals>,
    opening: Opening,
    background: AbortHandle,
}

impl PostgresStore {
    /// Connects and brings the schema up to date; other replicas may do the same at the same time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the first try fails.
    pub async fn open(server: &Server) -> Result<Self, StoreError> {
        let store = Self::connect_lazy(server);
        store.opening.first_try().await?;
        Ok(store)
    }

    /// Returns at once; connects and brings the schema up to date in the background, however long that takes. Until then
    /// every method fails with [`StoreError::NotOpen`], after three seconds at the latest.
    #[must_use]
    pub fn connect_lazy(server: &Server) -> Self {
        let connector = Connector::new(server.options().clone(), Arc::new(Health::default()));
        let signals = Arc::new(Signals::new(0));
        let origin = format!("{:016x}", rand::random::<u64>());
        let reads = Arc::new(Lines::new(connector.clone(), Use::Reads, server.readers));
        let session = Session::new(connector.clone(), origin.clone());
        let background = Background {
            connector: connector.clone(),
            reads: Arc::clone(&reads),
            signals: Arc::clone(&signals),
            origin: origin.clone(),
        };
        let (opening, background) = background.start();
        Self {
            place: server.to_string(),
            origin,
            takeover_after: server.takeover_after,
            reads,
            queue: Lines::new(connector, Use::Queue, QUEUE_LINES),
            rebuild: Mutex::default(),
            writes: Writes::start(session, Arc::clone(&signals)),
            signals,
            opening,
            background,
        }
    }

    /// Waits for the first connection, if it is being made just now.
    async fn opened(&self) -> Result<(), StoreError> {
        timeout(READY, self.opening.first_try()).await.unwrap_or_else(|_| {
            Err(StoreError::doing("answer for the first time")(too_late("no answer", READY)))
        })
    }

    async fn reads(&self) -> Result<&Lines, StoreError> {
        self.opened().await?;
        Ok(&self.reads)
    }

    async fn queue(&self) -> Result<&Lines, StoreError> {
        self.opened().await?;
        Ok(&self.queue)
    }
}

/// Reads the end of the log.
fn load_head() -> Statement {
    sqlx::query("select position, hash from log_head where id = 1")
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.background.abort();
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, commit: Commit) -> Result<Receipt, CommitError> {
        if let Err(error) = self.opened().await {
            return Err(CommitError::Store { stream: commit.stream, source: Arc::new(error) });
        }
        self.writes.commit(commit).await
    }

    async fn load(&self, stream: &StreamId) -> Result<Vec<Recorded>, StoreError> {
        load::stream(self.reads().await?, stream, 0, u32::MAX).await
    }

    async fn stream_page(
        &self,
        stream: &StreamId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        load::stream(self.reads().await?, stream, after, limit).await
    }

    async fn log_page(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        load::log(self.reads().await?, after, limit).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let rows = self.reads().await?.fetch("tell the end of the log", load_head).await?;
        commit::head(rows.first())
    }

    fn positions(&self) -> watch::Receiver<u64> {
        self.signals.positions()
    }

    async fn gateway(&self, owner: OrganizationId, id: GatewayId) -> Result<Option<String>, StoreError> {
        views::gateway(self.reads().await?, owner, id).await
    }

    async fn gateways(&self, owner: OrganizationId, limit: u32, offset: u64) -> Result<Page, StoreError> {
        views::gateways(self.reads().await?, owner, limit, offset).await
    }

    async fn operations_page(
        &self,
        owner: OrganizationId,
        status: Option<&str>,
        before: Option<(DateTime<Utc>, OperationId)>,
        limit: u32,
    ) -> Result<Vec<StoredOperation>, StoreError> {
        views::operations_page(self.reads().await?, (owner, status), before, limit).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<StoredOperation>, StoreError> {
        Ok(self.operations(&[id]).await?.pop())
    }

    async fn operations(&self, ids: &[OperationId]) -> Result<Vec<StoredOperation>, StoreError> {
        views::operations(self.reads().await?, ids).await
    }

    async fn agent(&self, owner: OrganizationId, id: AgentId) -> Result<Option<String>, StoreError> {
        views::agent(self.reads().await?, owner, id).await
    }

    async fn agents(&self, owner: OrganizationId, limit: u32, offset: u64) -> Result<Page, StoreError> {
        agents::agents(self.reads().await?, owner, (limit, offset)).await
    }

    async fn check_in(&self, agent: AgentId, at: DateTime<Utc>) -> Result<Option<GatewayId>, StoreError> {
        agents::check_in(self.queue().await?, agent, at).await
    }

    async fn check_ins(&self, agents: &[AgentId]) -> Result<Vec<(AgentId, DateTime<Utc>)>, StoreError> {
        agents::check_ins(self.reads().await?, agents).await
    }

    async fn organizations(&self) -> Result<Vec<OrganizationRow>, StoreError> {
        views::organizations(self.reads().await?).await
    }

    async fn members(&self, owner: OrganizationId) -> Result<Vec<MemberRow>, StoreError> {
        views::members(self.reads().await?, owner).await
    }

    async fn tokens(&self, owner: Option<OrganizationId>) -> Result<Vec<Token>, StoreError> {
        views::tokens(self.reads().await?, owner).await
    }

    async fn token_owner(&self, id: TokenId) -> Result<Option<Option<OrganizationId>>, StoreError> {
        views::token_owner(self.reads().await?, id).await
    }

    async fn credential(&self, hash: &[u8]) -> Result<Option<Credential>, StoreError> {
        views::credential(self.reads().await?, hash).await
    }

    async fn key(
        &self,
        owner: OrganizationId,
        route: &str,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<KeyClaim>, StoreError> {
        views::key(self.reads().await?, (owner, route, key), now).await
    }

    async fn secret(&self, owner: &str) -> Result<Option<Sealed>, StoreError> {
        views::secret(self.reads().await?, owner).await
    }

    async fn installation_value(
        &self,
        name: &str,
        or_put: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        let reads = self.reads().await?;
        let Some(value) = or_put else { return views::installation_value(reads, name).await };
        let (name, value) = (name.to_owned(), value.to_owned());
        self.writes.ask(|answer| Other::PutInstallationValue { name, value, answer }).await
    }

    async fn observe(&self, gateway: GatewayId, document: String) -> Result<(), StoreError> {
        views::observe(self.queue().await?, gateway, &document).await
    }

    async fn observation(&self, gateway: GatewayId) -> Result<Option<String>, StoreError> {
        views::observation(self.reads().await?, gateway).await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Lease>, StoreError> {
        let queue = self.queue().await?;
        queue::claim(queue, &claim, queue.health().is_back_for(self.takeover_after)).await
    }

    async fn renew(
        &self,
        held: &[(JobId, LeaseToken)],
        lease: Duration,
        _: DateTime<Utc>,
    ) -> Result<Vec<JobId>, StoreError> {
        queue::renew(self.queue().await?, held, lease).await
    }

    async fn release(&self, held: &[(JobId, LeaseToken)]) -> Result<(), StoreError> {
        queue::release(self.queue().await?, held, &self.origin).await?;
        self.signals.wake();
        Ok(())
    }

    async fn due_in(&self, _: DateTime<Utc>) -> Result<Option<Duration>, StoreError> {
        queue::due_in(self.queue().await?).await
    }

    async fn void_leases(&self) -> Result<u64, StoreError> {
        // Another process may live and hold them; they run out by themselves.
        Ok(0)
    }

    async fn jobs(&self) -> Result<Vec<QueuedJob>, StoreError> {
        queue::jobs(self.reads().await?).await
    }

    fn enqueued(&self) -> Arc<Notify> {
        self.signals.enqueued()
    }

    fn attach(&self, worker: Option<LocalWorker>) {
        self.signals.attach(worker);
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let asking = async { self.reads().await?.fetch("answer a readiness check", load_head).await };
        let answered = timeout(READY, asking).await;
        answered.unwrap_or_else(|_| {
            Err(StoreError::doing("answer a readiness check")(too_late("no answer", READY)))
        })?;
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.signals.stats()
    }

    async fn close(&self) {
        self.background.abort();
        self.writes.close().await;
        self.queue.close().await;
        self.reads.close().await;
    }
}
