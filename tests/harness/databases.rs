//! Throw-away databases.

mod cluster;
mod server;
mod silence;
mod supervisor;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use shared::{
    ids::JobId,
    store::{Store, sqlite::SqliteStore},
};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

pub use self::{
    cluster::{Cluster, Durability},
    server::{OpenTransaction, ServerDatabase, Sessions},
    silence::{Passes, Way},
    supervisor::server_programs,
};

/// Where a test's store keeps its data.
#[derive(Debug)]
enum Database {
    /// A file in a folder that is removed on drop.
    File(tempfile::TempDir),
    /// A database of a throw-away server.
    Server(ServerDatabase),
}

/// A store that is gone when the test is over.
#[derive(Debug)]
pub struct TestStore {
    /// The store.
    pub store: Arc<dyn Store>,
    database: Database,
}

/// A SQLite file in a folder of its own.
///
/// # Panics
/// When the temporary folder or the file cannot be made.
pub async fn sqlite() -> TestStore {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store =
        SqliteStore::open(&folder.path().join("mission-control.db")).await.expect("a new SQLite file");
    TestStore { store: Arc::new(store), database: Database::File(folder) }
}

/// A database of its own on the server that the tests of this process share.
pub async fn postgres() -> TestStore {
    let database = shared().await;
    TestStore { store: database.open().await, database: Database::Server(database) }
}

/// A database that several stores may open, on the server that the tests of this process share.
pub async fn shared() -> ServerDatabase {
    Cluster::of_this_process().await.database().await
}

/// A database without anything in it, on the server that the tests of this process share.
pub async fn empty() -> ServerDatabase {
    Cluster::of_this_process().await.empty_database().await
}

impl TestStore {
    /// Turns the time of the queue, for a store that goes by a clock of its own. It stands still from then on.
    pub async fn set_time(&self, now: DateTime<Utc>) {
        match &self.database {
            Database::File(_) => {}
            Database::Server(database) => database.set_time(now).await,
        }
    }

    /// Opens the same database as one more process does.
    ///
    /// # Panics
    ///
    /// If the database refuses it.
    pub async fn open_again(&self) -> Arc<dyn Store> {
        match &self.database {
            Database::File(folder) => {
                let file = folder.path().join("mission-control.db");
                Arc::new(SqliteStore::open(&file).await.expect("the SQLite file"))
            }
            Database::Server(database) => database.open().await,
        }
    }

    /// Every row of a table as text, in the order of the ids, behind the store's back.
    ///
    /// # Panics
    ///
    /// If there is no such table.
    pub async fn dump(&self, table: &str) -> Vec<String> {
        match &self.database {
            Database::File(folder) => {
                let file = SqliteConnectOptions::new().filename(folder.path().join("mission-control.db"));
                let mut file = file.connect().await.expect("the SQLite file");
                let columns: Vec<String> = sqlx::query_scalar("select name from pragma_table_info(?)")
                    .bind(table)
                    .fetch_all(&mut file)
                    .await
                    .expect("the file tells the columns of a table");
                let quoted: Vec<String> = columns.iter().map(|name| format!("quote({name})")).collect();
                let text = format!("select {} from {table} order by id", quoted.join(" || ', ' || "));
                let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&mut file).await;
                let _ = file.close().await;
                rows.expect("there is such a table")
            }
            Database::Server(database) => database.dump(table).await,
        }
    }

    /// Lets every transaction that appends events take its time between the numbering of the events and its end.
    pub async fn slow_commits_down(&self) {
        let statement = match &self.database {
            // About 5 ms each. A trigger may not say `with` itself.
            Database::File(_) => {
                "create view work as with recursive n (i) as (select 1 union all select i + 1 from n where i < 20000) \
                 select count(*) as done from n; \
                 create trigger slow_down after update on log_head begin select done from work; end"
            }
            // From 0 to 4 ms for each event, once the commit was ordered and while nobody else may commit.
            Database::Server(_) => {
                "create function slow_down() returns trigger language plpgsql \
                     as 'begin perform pg_sleep(random() * 0.004); return null; end'; \
                 create constraint trigger slow_down after insert on events deferrable initially deferred \
                     for each row execute function slow_down()"
            }
        };
        self.execute(statement).await;
    }

    /// Changes what an event says, behind the store's back.
    pub async fn falsify_event(&self, position: u32) {
        self.execute(&format!("update events set data = '{{\"a\":1}}' where position = {position}")).await;
    }

    /// Removes an event, behind the store's back.
    pub async fn lose_event(&self, position: u32) {
        self.execute(&format!("delete from events where position = {position}")).await;
    }

    /// Turns a job into one that only a newer program knows, behind the store's back.
    pub async fn make_job_unknown(&self, job: JobId) {
        self.execute(&format!("update jobs set kind = 'of_a_newer_program' where id = '{job}'")).await;
    }

    /// Runs a statement, behind the store's back.
    ///
    /// # Panics
    ///
    /// If the database refuses it.
    pub async fn execute(&self, statement: &str) {
        self.run(statement).await.expect("the statement is fine");
    }

    /// Runs a statement, behind the store's back; `false` if the database refuses it.
    pub async fn try_execute(&self, statement: &str) -> bool {
        self.run(statement).await.is_ok()
    }

    async fn run(&self, statement: &str) -> Result<(), sqlx::Error> {
        match &self.database {
            Database::File(folder) => {
                let file = folder.path().join("mission-control.db");
                let mut file = SqliteConnectOptions::new().filename(file).connect().await?;
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut file).await?;
                file.close().await
            }
            Database::Server(database) => database.run(statement).await,
        }
    }
}
