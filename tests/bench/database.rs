//! A PostgreSQL server of our own that really syncs, and what it tells about itself.

use std::sync::Arc;

use harness::databases::{Cluster, Durability};
use sqlx::{Connection as _, PgConnection};

/// The server that everything here is measured on.
#[derive(Debug)]
pub(crate) struct Database(Arc<Cluster>);

impl Database {
    pub(crate) async fn start() -> Self {
        Self(Arc::new(Cluster::start(Durability::Real).await))
    }

    /// The URL of a new database without anything in it.
    pub(crate) async fn new_database(&self) -> String {
        self.0.empty_database().await.url().to_owned()
    }

    /// Syncs of the log of the whole server so far; what sessions did in the last second may be missing.
    pub(crate) async fn syncs(&self, url: &str) -> f64 {
        self.number(url, "select wal_sync::float8 from pg_stat_wal").await
    }

    /// Transactions of this database so far, our own looks included: every query outside of a commit is one.
    pub(crate) async fn transactions(&self, url: &str) -> f64 {
        let statement = "select (xact_commit + xact_rollback)::float8 from pg_stat_database \
                         where datname = current_database()";
        self.number(url, statement).await
    }

    async fn number(&self, url: &str, statement: &'static str) -> f64 {
        let mut connection = PgConnection::connect(url).await.expect("the database is there");
        let number = sqlx::query_scalar(statement).fetch_one(&mut connection).await;
        let _ = connection.close().await;
        number.expect("the server tells it")
    }
}
