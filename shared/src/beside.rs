//! Work for the processor, on a thread of its own, so that the database can be asked for what comes next meanwhile.

use crate::store::StoreError;

/// Does it and waits for it; a panic in it goes on here.
///
/// # Errors
///
/// [`StoreError::Closed`] if the program ends before it was begun.
pub async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Closed),
        },
    }
}
