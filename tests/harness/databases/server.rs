//! A database on a throw-away server.

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use shared::{
    ids::JobId,
    store::{Location, Store},
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{cluster::Cluster, silence::Way};

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

    /// The same over a way that can fall silent.
    ///
    /// # Panics
    ///
    /// If loopback cannot be used.
    pub async fn by_way(&self) -> (Location, Way) {
        let port = self.cluster().port();
        let way = Way::to(port).await;
        let url = self.url.replace(&format!(":{port}/"), &format!(":{}/", way.port()));
        (url.parse().expect("our own URL"), way)
    }

    /// What the sessions on it do at this moment, ours left out.
    pub async fn sessions(&self) -> Sessions {
        let statement = "select count(*), count(*) filter (where state like 'idle in transaction%' \
                                and clock_timestamp() - state_change > interval '500 ms') \
                         from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        let mut connection = self.connect().await;
        let (open, held): (i64, i64) =
            sqlx::query_as(statement).fetch_one(&mut connection).await.expect("the statement is fine");
        Sessions { open, held }
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

    /// Cuts so many sessions, whichever; returns how many there were.
    pub async fn cut_any(&self, count: u32) -> u64 {
        let statement = format!(
            "select pg_terminate_backend(pid) from (select pid from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid() order by random() limit {count}) chosen"
        );
        let mut connection = self.connect().await;
        let cut = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await;
        cut.expect("its own role may").rows_affected()
    }

    /// Takes every connection that the server has for roles like ours: first those that are free, then those of others.
    pub async fn take_all_connections(&self) -> Vec<PgConnection> {
        let options: PgConnectOptions = self.url.parse().expect("our own URL");
        let options = options.application_name("stranger");
        let mut taken = vec![];
        loop {
            while let Ok(connection) = PgConnection::connect_with(&options).await {
                taken.push(connection);
            }
            let statement = "select pg_terminate_backend(pid) from pg_stat_activity \
                             where datname = current_database() and application_name <> 'stranger'";
            let cut = sqlx::query(statement).execute(&mut taken[0]).await.expect("its own role may");
            if cut.rows_affected() == 0 {
                return taken;
            }
        }
    }

    /// Has written something of its own and does not end, as a person's forgotten session.
    pub async fn begin_writing(&self) -> OpenTransaction {
        self.begin("create table of_a_stranger (id int); insert into of_a_stranger values (1)").await
    }

    /// Loses the whole queue.
    pub async fn lose_queue(&self) {
        self.execute("truncate table jobs").await;
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

    /// Lets nobody read or write this table, until the transaction ends.
    pub async fn begin_lock_of(&self, table: &str) -> OpenTransaction {
        self.begin(&format!("lock table {table} in access exclusive mode")).await
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
        self.run(statement).await.expect("the statement is fine");
    }

    pub(super) async fn run(&self, statement: &str) -> Result<(), sqlx::Error> {
        let mut connection = self.connect().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await
    }

    pub(super) async fn dump(&self, table: &str) -> Vec<String> {
        let text = format!("select t::text from {table} t order by id");
        let mut connection = self.connect().await;
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&mut connection).await;
        rows.expect("there is such a table")
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the database is there")
    }
}

/// Sessions of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// How many there are.
    pub open: i64,
    /// How many of them sit in a transaction and do nothing.
    pub held: i64,
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
