//! Throw-away databases.

use std::sync::Arc;

use shared::store::{Store, sqlite::SqliteStore};

/// A store that is gone when the test is over.
#[derive(Debug)]
pub struct TestStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its folder; removed on drop.
    pub folder: tempfile::TempDir,
}

/// A SQLite file in a folder of its own.
///
/// # Panics
/// When the temporary folder or the file cannot be made.
pub async fn sqlite() -> TestStore {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store =
        SqliteStore::open(&folder.path().join("mission-control.db")).await.expect("a new SQLite file");
    TestStore { store: Arc::new(store), folder }
}
