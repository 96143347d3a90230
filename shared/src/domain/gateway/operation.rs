//! Something that was asked for, and its outcome.

use chrono::{DateTime, Utc};

use super::{
    failure::{Code, Failure},
    patience::Patience,
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
    /// Its outcome.
    pub end: End,
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
            end: End::Open,
        }
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
