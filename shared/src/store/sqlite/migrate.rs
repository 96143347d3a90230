//! The schema.

use sqlx::SqliteConnection;

use crate::store::StoreError;

/// Brings the schema up to date, in one transaction per step.
pub(super) async fn run(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::migrate!("../migrations/sqlite").run(connection).await.map_err(StoreError::Migrate)
}
