//! One transaction, as a value. Whoever decides builds it; only the store writes it.

use chrono::{DateTime, Utc};

use crate::{
    envelope::{NewEvent, StreamId},
    ids::{EventId, JobId, LeaseToken, OperationId, OrganizationId},
    job::Job,
    view::Row,
};

/// Everything that one command writes: all of it, or none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The stream that the events are appended to.
    pub stream: StreamId,
    /// Whose it is.
    pub organization: Option<OrganizationId>,
    /// The version that the events were decided on; a mismatch is a conflict.
    pub expected: u64,
    /// The events, in order. May be empty, for a commit that only ends a job.
    pub events: Vec<NewEvent>,
    /// The time of the decision, recorded with each event.
    pub recorded_at: DateTime<Utc>,
    /// Read models that change.
    pub rows: Vec<Row>,
    /// Enqueued.
    pub jobs: Vec<Job>,
    /// Jobs that an operator changes; refused as a whole if a worker holds one of them.
    pub changed_jobs: Vec<JobChange>,
    /// The delivery that this commit ends.
    pub finish: Option<Finish>,
    /// The idempotency key that this commit answers.
    pub key: Option<KeyClaim>,
    /// Sealed secrets that are put or erased.
    pub secrets: Vec<SecretChange>,
    /// Hashes of tokens that are accepted from now on, or no longer.
    pub credentials: Vec<CredentialChange>,
    /// Values of the installation that change.
    pub installation: Vec<InstallationChange>,
    /// Only if the log is empty: the founding of an installation, which several processes may try at once.
    pub only_on_empty_log: bool,
}

impl Commit {
    /// A commit that appends nothing yet.
    #[must_use]
    pub fn new(
        stream: StreamId,
        organization: Option<OrganizationId>,
        expected: u64,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            stream,
            organization,
            expected,
            events: vec![],
            recorded_at: at,
            rows: vec![],
            jobs: vec![],
            changed_jobs: vec![],
            finish: None,
            key: None,
            secrets: vec![],
            credentials: vec![],
            installation: vec![],
            only_on_empty_log: false,
        }
    }

    /// Roughly how much it writes, for the bound on a batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let events: usize =
            self.events.iter().map(|event| event.data.len() + event.metadata.len() + 200).sum();
        events + 500 * (self.rows.len() + self.jobs.len() + self.secrets.len() + 1)
    }
}

/// The end of a delivery, fenced by its lease token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The job.
    pub job: JobId,
    /// The delivery.
    pub token: LeaseToken,
    /// What becomes of the row.
    pub then: Then,
}

/// What becomes of a job after a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It is done.
    Delete,
    /// It runs again.
    RunAt {
        /// Not before.
        at: DateTime<Utc>,
        /// As this attempt.
        attempt: u32,
    },
}

/// What an operator does to a job that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobChange {
    /// It is due at once.
    RunNow {
        /// Which.
        job: JobId,
        /// As this attempt.
        attempt: u32,
    },
    /// It is not done.
    Drop {
        /// Which.
        job: JobId,
    },
}

impl JobChange {
    /// Which job.
    #[must_use]
    pub const fn job(self) -> JobId {
        match self {
            Self::RunNow { job, .. } | Self::Drop { job } => job,
        }
    }
}

/// How long an idempotency key is kept.
pub const KEY_KEPT_HOURS: i64 = 24;

/// An idempotency key and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyClaim {
    /// Keys of different organizations never meet.
    pub organization: OrganizationId,
    /// Method and route, for example `POST /api/v1/gateways`.
    pub route: String,
    /// As the client sent it, unquoted.
    pub key: String,
    /// HMAC-SHA-256 of the parsed body.
    pub fingerprint: Vec<u8>,
    /// What it started.
    pub operation: OperationId,
    /// Kept for [`KEY_KEPT_HOURS`] from here.
    pub created_at: DateTime<Utc>,
}

/// A secret as it is stored: only the holder of the master key can open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key sealed it.
    pub key_id: String,
    /// 96 bits, random.
    pub nonce: Vec<u8>,
    /// With the owner as associated data.
    pub ciphertext: Vec<u8>,
}

/// A change of the sealed secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretChange {
    /// Keep it.
    Put {
        /// Whose, for example `gateway-<uuid>/token`.
        owner: String,
        /// The secret.
        sealed: Sealed,
    },
    /// Forget it for good.
    Erase {
        /// Whose.
        owner: String,
    },
}

/// A change of the token hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialChange {
    /// Accept it.
    Put {
        /// SHA-256 of the token.
        hash: Vec<u8>,
        /// `token-…` or `agent-…`.
        subject: String,
    },
    /// No longer.
    Erase {
        /// `token-…` or `agent-…`.
        subject: String,
    },
}

/// A change of the installation's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallationChange {
    /// Keep it, in place of what stands there.
    Put {
        /// Which.
        name: String,
        /// Nothing secret, unless it is sealed.
        value: String,
    },
    /// Forget it.
    Erase {
        /// Which.
        name: String,
    },
}

impl InstallationChange {
    /// A value that is to stand under this name.
    #[must_use]
    pub fn put(name: &str, value: &str) -> Self {
        Self::Put { name: name.to_owned(), value: value.to_owned() }
    }
}

/// What a commit got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Position of its last event; of the log's head if it had none.
    pub position: u64,
    /// The stream's version after it.
    pub version: u64,
    /// The id of its last event.
    pub last_event: Option<EventId>,
}
