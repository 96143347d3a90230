//! A database on a throw-away server.

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use shared::{
    ids::JobId,
    store::{Location, Store},
};
use sqlx::{Connection as _, PgConnection};

use super::cluster::Cluster;

/// A database that any number of stores may open at once.
pub struct ServerDatabase {
    url: String,
    cluster: Option<Arc<Cluster>>,
}

impl fmt::Debug for ServerDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerDatabase").finish_non_exhaustive()
    }
}

impl ServerDatabase {
    pub(super) fn new(url: String, cluster: Option<Arc<Cluster>>) -> Self {
        Self { url, cluster }
    }

    /// As a process names it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server that it is on.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        self.cluster.as_ref().expect("only the template has none")
    }

    /// Where it is. Leases that ran out are taken over at once, as after a long uptime.
    #[must_use]
    pub fn location(&self) -> Location {
        let mut location: Location = self.url.parse().expect("our own URL");
        if let Location::Postgres(server) = &mut location {
            server.takeover_after = Duration::ZERO;
        }
        location
    }

    /// A store on it, as one process of a fleet has it.
    pub async fn open(&self) -> Arc<dyn Store> {
        self.location().open().await.expect("the database is there")
    }

    /// Cuts the connection of every store that listens for news; returns how many did.
    pub async fn cut_listeners(&self) -> u64 {
        let statement = "select pg_terminate_backend(pid) from pg_stat_activity \
                         where datname = current_database() and query ilike 'listen%'";
        let mut connection = self.connect().await;
        sqlx::query(statement).execute(&mut connection).await.expect("its own role may").rows_affected()
    }

    /// Leases a job as a claim does, in a transaction that is still open.
    pub async fn begin_claim(&self, job: JobId) -> OpenTransaction {
        let token = uuid::Uuid::nil();
        self.begin(&format!(
            "update jobs set lease_token = '{token}', lease_until = queue_now() + interval '8 s' where id = '{job}'"
        ))
        .await
    }

    /// Lets every commit that appends an event stop in its middle, until the transaction ends.
    pub async fn begin_hold_of_events(&self) -> OpenTransaction {
        self.begin("lock table events in share mode").await
    }

    async fn begin(&self, statement: &str) -> OpenTransaction {
        let mut connection = self.connect().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("begin; {statement}")))
            .execute(&mut connection)
            .await
            .expect("the statement is fine");
        OpenTransaction(connection)
    }

    /// Transactions of this database so far, our own looks included: every query outside of a commit is one. What sessions
    /// did in the last second may be missing.
    pub async fn transactions(&self) -> f64 {
        let statement = "select (xact_commit + xact_rollback)::float8 from pg_stat_database \
                         where datname = current_database()";
        let mut connection = self.connect().await;
        sqlx::query_scalar(statement).fetch_one(&mut connection).await.expect("the statement is fine")
    }

    /// Whether a session waits for a lock that another one holds.
    pub async fn has_waiting_session(&self) -> bool {
        let statement = "select exists (select 1 from pg_stat_activity \
                         where datname = current_database() and wait_event_type = 'Lock')";
        let mut connection = self.connect().await;
        sqlx::query_scalar(statement).fetch_one(&mut connection).await.expect("the statement is fine")
    }

    /// Lets the queue's clock stand still at an instant.
    pub(super) async fn set_time(&self, now: DateTime<Utc>) {
        let micros = now.timestamp_micros();
        self.execute(&format!(
            "create or replace function queue_now() returns timestamptz language sql stable parallel safe \
             as 'select timestamptz ''epoch'' + {micros} * interval ''1 microsecond'''"
        ))
        .await;
    }

    pub(super) async fn execute(&self, statement: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .expect("the statement is fine");
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the database is there")
    }
}

/// A transaction that has not ended.
#[derive(Debug)]
pub struct OpenTransaction(PgConnection);

impl OpenTransaction {
    /// Ends it: what it wrote holds, and what it locked is free.
    pub async fn commit(mut self) {
        sqlx::raw_sql("commit").execute(&mut self.0).await.expect("it can be committed");
    }
}
