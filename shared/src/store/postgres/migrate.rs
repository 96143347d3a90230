//! The schema. Replicas may start at once: the migrator holds an advisory lock.

use std::time::Duration;

use sqlx::{PgPool, Row as _};
use tokio::time::timeout;

use super::{
    commit,
    connections::{Connector, too_late},
};
use crate::store::{Head, StoreError};

/// The oldest server that is tested, as it numbers itself.
const SERVER_MIN: i32 = 150_000;
/// To bring the schema up to date, the wait for another replica that does it included.
const MIGRATE: Duration = Duration::from_mins(10);

/// Brings the schema up to date and returns the end of the log.
pub(super) async fn run(connector: &Connector) -> Result<Head, StoreError> {
    let pool = connector.pool_of_one();
    let head = run_on(&pool).await;
    // Not awaited: where the server is gone, so is the answer to a farewell.
    drop(pool);
    head
}

async fn run_on(pool: &PgPool) -> Result<Head, StoreError> {
    check_server(pool).await?;
    timeout(MIGRATE, sqlx::migrate!("../migrations/postgres").run(pool))
        .await
        .map_err(|_| too_late("the schema was not up to date", MIGRATE))
        .map_err(StoreError::doing("bring its schema up to date"))?
        .map_err(StoreError::Migrate)?;
    let row = super::load_head().fetch_optional(pool).await;
    commit::head(row.map_err(StoreError::doing("tell the end of the log"))?.as_ref())
}

async fn check_server(pool: &PgPool) -> Result<(), StoreError> {
    let row =
        sqlx::query("select current_setting('server_version_num')::int, current_setting('server_version')")
            .fetch_one(pool)
            .await
            .map_err(StoreError::doing("answer for the first time"))?;
    if row.get::<i32, _>(0) < SERVER_MIN {
        let version: String = row.get(1);
        let problem = format!("PostgreSQL {version} is too old; 15 is the oldest that is supported");
        return Err(StoreError::Setting { problem });
    }
    Ok(())
}
