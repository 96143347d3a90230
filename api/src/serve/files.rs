//! Files of the data directory: the lock beside the database, and the first token.

use std::{
    fs::{File, OpenOptions},
    path::Path,
};

use shared::{secret::Secret, vault::write_private};

use super::ServeError;

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> ServeError {
    move |source| ServeError::File { path: path.display().to_string(), source }
}

/// Locks the database file against a second `serve` for as long as the result lives.
///
/// # Errors
///
/// [`ServeError::Locked`] if another process holds it.
pub(super) fn lock(database: &Path) -> Result<File, ServeError> {
    if let Some(folder) = database.parent() {
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    let path = database.with_extension("lock");
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
    match fs4::FileExt::try_lock(&file) {
        Ok(()) => Ok(file),
        Err(fs4::TryLockError::WouldBlock) => {
            Err(ServeError::Locked { path: database.display().to_string() })
        }
        Err(fs4::TryLockError::Error(source)) => Err(failed(&path)(source)),
    }
}

/// The token in the file; makes one with mode 0600 where there is none.
///
/// # Errors
///
/// [`ServeError::File`].
pub(super) fn token(path: &Path, make: fn() -> Secret) -> Result<Secret, ServeError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Secret::from(text.trim())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let token = make();
            write_private(path, token.expose()).map_err(failed(path))?;
            Ok(token)
        }
        Err(error) => Err(failed(path)(error)),
    }
}
