//! Connections, opened when they are needed and dropped when they fail.
//!
//! The driver's own pool is not used: in version 0.9.0 a connection that died keeps its permit while it is being returned
//! (transact-rs/sqlx 4349), and each use costs two more round trips. Here a connection goes back only after it answered;
//! after an error, a time-out or a caller that gave up it is dropped, and its permit is free at once.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{TryStreamExt as _, future::BoxFuture};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::health::{Health, is_lost};
use crate::store::StoreError;

/// To have a new connection, or to be given a free one.
const CONNECT: Duration = Duration::from_secs(3);
/// To have an answer, the wait for a free connection included; the server gives up a second earlier, so that it tells
/// why. Who asks is told this soon that the database is silent.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// What every session is told first. The server watches the connection too: without this, one whose host is gone would
/// hold what it has locked for hours. And nothing here is worth compiling: a claim of a millisecond was seen to take 150.
const LIMITS: &str = "set jit = off; set statement_timeout = '4s'; set idle_in_transaction_session_timeout = '3s'; \
                      set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3; \
                      set tcp_user_timeout = '10s'; ";

/// Commits and the queue look rows up by an index, always. The planner would leave the index now and then, because a table
/// is new or was empty when it was last counted, and a claim would read the whole queue; so it is not asked.
const BY_INDEX: &str = "set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; \
                        set enable_mergejoin = off; set plan_cache_mode = force_generic_plan; ";

/// What the server's default may not be.
const DURABLE: &str = "select set_config('synchronous_commit', 'on', false) \
                       where current_setting('synchronous_commit') = 'off'";
const LAZY: &str = "set synchronous_commit = off; ";

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Commits: durable when they return, whatever the server's default is.
    Commits,
    /// Claims, renewals and observations: one that is lost with the server costs a second delivery, which is fenced, and
    /// no write waits for the disk.
    Queue,
    /// Reads.
    Reads,
    /// A durable transaction that may read much and take its time.
    Long,
}

impl Use {
    fn session(self) -> String {
        let settings = match self {
            Self::Commits => [BY_INDEX, DURABLE],
            Self::Queue => [BY_INDEX, LAZY],
            Self::Reads => [LAZY, ""],
            Self::Long => {
                ["set statement_timeout = 0; set idle_in_transaction_session_timeout = '1min'; ", DURABLE]
            }
        };
        [LIMITS].into_iter().chain(settings).collect()
    }
}

/// A statement with its values.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

/// Asks one connection.
trait Ask<T>: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + Sync {}

impl<T, F> Ask<T> for F where
    F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + Sync
{
}

/// Everything that a `copy … to stdout` writes. The driver gives it in messages, whose borders mean nothing.
fn copy(connection: &mut PgConnection, statement: Arc<str>) -> BoxFuture<'_, Result<Bytes, sqlx::Error>> {
    Box::pin(async move {
        let messages: Vec<Bytes> = connection.copy_out_raw(&statement).await?.try_collect().await?;
        Ok(messages.concat().into())
    })
}

/// Opens connections.
#[derive(Clone)]
pub(super) struct Connector {
    options: Arc<PgConnectOptions>,
    health: Arc<Health>,
}

impl Connector {
    pub(super) fn new(options: PgConnectOptions, health: Arc<Health>) -> Self {
        Self { options: Arc::new(options.disable_statement_logging()), health }
    }

    /// The driver's pool, for what insists on one: with one connection, one user and without limits on statements.
    pub(super) fn pool_of_one(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(CONNECT)
            .connect_lazy_with((*self.options).clone())
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// A new connection, within [`CONNECT`].
    pub(super) async fn connect(&self, purpose: Use) -> Result<PgConnection, sqlx::Error> {
        let opening = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(purpose.session())).execute(&mut connection).await?;
            Ok(connection)
        };
        let opened =
            timeout(CONNECT, opening).await.unwrap_or_else(|_| Err(too_late("no connection", CONNECT)));
        self.report(opened)
    }

    /// Asks, and takes the answer into account.
    pub(super) async fn ask(
        &self,
        connection: &mut PgConnection,
        statement: Statement,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        self.in_time(statement.fetch_all(connection)).await
    }

    /// Waits for an answer, and takes it into account.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let answered = timeout(ANSWER, answer).await;
        self.report(answered.unwrap_or_else(|_| Err(too_late("no answer", ANSWER))))
    }

    /// Tells [`Health`] what a call to the database ended with.
    pub(super) fn report<T>(&self, ended: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match &ended {
            Err(error) if is_lost(error) => self.health.lost(error),
            Ok(_) | Err(_) => self.health.answered(),
        }
        ended
    }
}

/// A time-out, as the driver would tell it.
pub(super) fn too_late(what: &str, limit: Duration) -> sqlx::Error {
    let text = format!("{what} within {} s", limit.as_secs());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text))
}

/// Whether it was a time-out: the database says nothing, and need not be asked again at once.
pub(super) fn is_too_late(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// A few connections for statements that are transactions of their own.
pub(super) struct Lines {
    connector: Connector,
    purpose: Use,
    permits: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
}

impl Lines {
    /// For one use, at most `most` at once.
    pub(super) fn new(connector: Connector, purpose: Use, most: usize) -> Self {
        Self { connector, purpose, permits: Semaphore::new(most), idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> &Health {
        self.connector.health()
    }

    /// Sends a statement and returns its rows. If it was sent on a connection that turns out to be dead, it is sent once
    /// more on a new one: every statement here may run twice.
    pub(super) async fn fetch(
        &self,
        doing: &'static str,
        statement: impl Fn() -> Statement + Send + Sync,
    ) -> Result<Vec<PgRow>, StoreError> {
        self.try_fetch(statement).await.map_err(StoreError::doing(doing))
    }

    /// [`Self::fetch`] with the driver's own error.
    pub(super) async fn try_fetch(
        &self,
        statement: impl Fn() -> Statement + Send + Sync,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        self.answer(|connection| Box::pin(statement().fetch_all(connection))).await
    }

    /// [`Self::fetch`] of a `copy … to stdout`: what it writes.
    pub(super) async fn copy(&self, doing: &'static str, statement: Arc<str>) -> Result<Bytes, StoreError> {
        let copied =
            self.answer(|connection: &mut PgConnection| copy(connection, Arc::clone(&statement))).await;
        copied.map_err(StoreError::doing(doing))
    }

    async fn answer<T: Send>(&self, ask: impl Ask<T>) -> Result<T, sqlx::Error> {
        let answered = timeout(ANSWER, self.answer_again(ask)).await;
        answered.unwrap_or_else(|_| {
            // What idles beside it is most likely as silent.
            self.idle().clear();
            self.connector.report(Err(too_late("no answer", ANSWER)))
        })
    }

    async fn answer_again<T: Send>(&self, ask: impl Ask<T>) -> Result<T, sqlx::Error> {
        let _permit = self.permit().await?;
        let idle = self.idle().pop();
        if let Some(connection) = idle {
            match self.answer_on(connection, &ask).await {
                Err(error) if is_lost(&error) => {
                    // What idles beside it has most likely died with it.
                    self.idle().clear();
                    if is_too_late(&error) {
                        return Err(error);
                    }
                }
                answered => return answered,
            }
        }
        let connection = self.connector.connect(self.purpose).await?;
        self.answer_on(connection, &ask).await
    }

    /// Keeps the connection if it answered, even with a refusal.
    async fn answer_on<T: Send>(
        &self,
        mut connection: PgConnection,
        ask: &impl Ask<T>,
    ) -> Result<T, sqlx::Error> {
        let answered = self.connector.in_time(ask(&mut connection)).await;
        let is_usable = !answered.as_ref().is_err_and(is_lost);
        if is_usable && !self.permits.is_closed() {
            self.idle().push(connection);
        }
        answered
    }

    /// A new connection for a transaction that may take its time, beside the ones that are kept.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        self.connector.connect(Use::Long).await
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, sqlx::Error> {
        let permit = timeout(CONNECT, self.permits.acquire()).await;
        permit.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Ends what idles; nothing is asked any more.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            let _ = timeout(CONNECT, connection.close()).await;
        }
    }
}
