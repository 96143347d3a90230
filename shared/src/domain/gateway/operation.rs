//! Something that was asked for, and its outcome.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    failure::{Code, Failure},
    patience::{ATTEMPT_LONGEST, Patience},
    state::Occurrence,
};
use crate::ids::OperationId;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Registers a gateway, the first time or again.
    Create,
    /// Changes it.
    Update,
    /// Writes its agents anew from the templates.
    Sync,
    /// Removes it.
    Delete,
}

impl Kind {
    /// The name that is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create_gateway",
            Self::Update => "update_gateway",
            Self::Sync => "sync_templates",
            Self::Delete => "delete_gateway",
        }
    }
}

/// Something that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What it does.
    pub kind: Kind,
    /// How long to try.
    pub patience: Patience,
    /// The HTTP request that asked.
    pub request_id: Option<String>,
    /// When.
    pub requested_at: DateTime<Utc>,
    /// When its last event was recorded.
    pub progressed_at: DateTime<Utc>,
    /// Attempts that ended.
    pub attempts: u32,
    /// How long they took, with the pauses between them.
    pub spent: TimeDelta,
    /// When the attempt that is next may begin, or might have begun.
    pub due: DateTime<Utc>,
    /// Its outcome.
    pub end: End,
    /// The stream's version that its outcome is, once it has one.
    pub ended_at: Option<u64>,
}

/// The outcome of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Not known yet.
    Open,
    /// Done.
    Succeeded,
    /// Not done.
    Failed(Failure, Code),
    /// Ended by somebody.
    Cancelled {
        /// By whom.
        by: String,
        /// Why.
        reason: String,
    },
}

impl Operation {
    pub(super) fn new((id, kind): (OperationId, Kind), patience: Patience, occurrence: &Occurrence) -> Self {
        Self {
            id,
            kind,
            patience,
            request_id: occurrence.request_id.clone(),
            requested_at: occurrence.at,
            progressed_at: occurrence.at,
            attempts: 0,
            spent: TimeDelta::zero(),
            due: occurrence.at,
            end: End::Open,
            ended_at: None,
        }
    }

    /// For how long it has been tried. Time in which no worker held the job does not count: whatever lies between the
    /// instant an attempt was due and its end counts as one attempt at most.
    #[must_use]
    pub fn tried_for(&self, now: DateTime<Utc>) -> TimeDelta {
        self.spent + (now - self.due).clamp(TimeDelta::zero(), ATTEMPT_LONGEST)
    }

    pub(super) fn attempt_failed(&mut self, attempt: u32, at: DateTime<Utc>, retry_at: DateTime<Utc>) {
        self.attempts = attempt;
        self.spent = self.tried_for(at) + (retry_at - at).max(TimeDelta::zero());
        self.due = retry_at;
    }

    pub(super) fn succeed(&mut self) {
        self.attempts += 1;
        self.end = End::Succeeded;
    }

    pub(super) fn fail(&mut self, failure: &Failure, code: Code, attempts: u32) {
        self.attempts = attempts;
        self.end = End::Failed(failure.clone(), code);
    }
}
