//! What a store answers to a commit that it has not written.

use std::sync::Arc;

use super::StoreError;
use crate::{
    envelope::StreamId,
    ids::{JobId, OperationId},
};

/// Why a commit was not written. Nothing of it was stored when this is returned, except for `Store`, where it may be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Another writer appended first; load again and decide again.
    #[error("stream {stream} is at version {actual}, not {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The version that the decision was made on.
        expected: u64,
        /// The version that it has.
        actual: u64,
    },
    /// The key was used before.
    #[error("the idempotency key belongs to operation {operation}")]
    KeyTaken {
        /// What it started.
        operation: OperationId,
        /// Of the body it was used with.
        fingerprint: Vec<u8>,
    },
    /// Another worker holds the job, or it is done.
    #[error("the lease of job {job} was lost")]
    LeaseLost {
        /// The job.
        job: JobId,
    },
    /// The installation was founded already.
    #[error("the log is not empty")]
    NotEmpty,
    /// The database failed; whether it was written is not known.
    #[error("stream {stream} could not be written")]
    Store {
        /// The stream.
        stream: StreamId,
        /// The database's error, shared by the batch.
        #[source]
        source: Arc<StoreError>,
    },
}
