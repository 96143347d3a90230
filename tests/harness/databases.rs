//! Throw-away databases.

mod cluster;
mod server;
mod supervisor;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use shared::{
    ids::JobId,
    store::{Store, sqlite::SqliteStore},
};

pub use self::{
    cluster::{Cluster, Durability},
    server::{OpenTransaction, ServerDatabase},
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

impl TestStore {
    /// Turns the time of the queue, for a store that goes by a clock of its own. It stands still from then on.
    pub async fn set_time(&self, now: DateTime<Utc>) {
        match &self.database {
            Database::File(_) => {}
            Database::Server(database) => database.set_time(now).await,
        }
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
        match &self.database {
            Database::File(folder) => {
                let url = format!("sqlite://{}", folder.path().join("mission-control.db").display());
                let file = sqlx::SqlitePool::connect(&url).await.expect("the SQLite file");
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                    .execute(&file)
                    .await
                    .expect("the statement is fine");
            }
            Database::Server(database) => database.execute(statement).await,
        }
    }
}
