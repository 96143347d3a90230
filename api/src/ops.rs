//! The operator's sub-commands. Each works while a server runs on the same store; results go to stdout, the rest to
//! stderr.

pub mod doctor;
pub mod events;
pub mod jobs;
pub mod key;
pub mod operations;
pub mod organization;
pub mod output;
pub mod projections;
pub mod queue;
pub mod replay;
pub mod token;
pub mod workers;

use std::sync::Arc;

use shared::{
    config::Place,
    store::{Location, Store, StoreError},
};

/// Why a sub-command failed.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The order was refused or not written.
    #[error(transparent)]
    Manage(#[from] shared::install::ManageError),
    /// The queue was not changed.
    #[error(transparent)]
    Steer(#[from] shared::steer::SteerError),
    /// The master key was not rotated.
    #[error(transparent)]
    Rotate(#[from] shared::rotate::RotateError),
    /// A master key cannot be used.
    #[error(transparent)]
    Vault(#[from] shared::vault::VaultError),
    /// The read models were not made again.
    #[error(transparent)]
    Rebuild(#[from] shared::rebuild::RebuildError),
    /// What is stored is not JSON.
    #[error("an event could not be shown")]
    Json(#[from] serde_json::Error),
    /// The result could not be printed.
    #[error("the result could not be printed")]
    Print(#[from] std::io::Error),
}

/// Opens the store of an installation that exists.
///
/// # Errors
///
/// [`OpsError`] if there is none, or it cannot be opened.
pub async fn open(place: &Place) -> Result<Arc<dyn Store>, OpsError> {
    let location = place.location()?;
    if let Location::Sqlite(path) = &location
        && !path.exists()
    {
        let problem =
            "there is no database; name the data directory with --data-dir, or start `mission-control serve`";
        return Err(OpsError::Setting(format!("{}: {problem}", path.display())));
    }
    Ok(location.open().await?)
}

/// Prints one line of a result.
///
/// # Errors
///
/// The system's error, for example a closed pipe.
pub fn print(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout().lock(), "{line}")
}
