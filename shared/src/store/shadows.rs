//! What a rebuild of the read models needs of a store: tables beside theirs, which are filled, compared and swapped in.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use super::StoreError;
use crate::{ids::RebuildId, view::Row};

/// How much of the machine a rebuild takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// One thing after the other, in bits, with pauses that are three times as long as the bits took. Whoever waits for a
    /// processor that it uses waits for a bit of this, and not for a time slice; and three of four find it free.
    Steady,
    /// As fast as it goes: events are read while those before are folded and the rows of those before them are written.
    Fast,
}

impl Pace {
    /// Rows that are compared at once, at the most.
    #[must_use]
    pub fn compared(self) -> u32 {
        match self {
            Self::Steady => 64,
            Self::Fast => 10_000,
        }
    }
}

/// The least that is slept: a shorter sleep takes as long.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Pause to work. With as long a pause as the bit took, reads beside it took twice as long at the 99th percentile.
const PAUSE_TO_WORK: u32 = 3;

/// The pauses of a rebuild.
#[derive(Debug)]
pub struct Pauses {
    pace: Pace,
    owed: Duration,
}

impl Pauses {
    /// As this pace wants them.
    #[must_use]
    pub const fn new(pace: Pace) -> Self {
        Self { pace, owed: Duration::ZERO }
    }

    /// Waits after a bit of work that took so long, or after a later one.
    pub async fn after(&mut self, took: Duration) {
        self.owed += took * PAUSE_TO_WORK;
        if self.pace == Pace::Steady && self.owed >= PAUSE_MIN {
            sleep(std::mem::take(&mut self.owed)).await;
        }
    }
}

/// One read model against its shadow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Name of the table.
    pub projection: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// How many rows are missing, too many, or differ.
    pub differing: u64,
}

impl Difference {
    /// Every read model.
    pub const PROJECTIONS: [&'static str; 8] = [
        "gateways",
        "operations",
        "agents",
        "organizations",
        "members",
        "tokens",
        "queue_pauses",
        "worker_drains",
    ];
}

/// What is to become of the shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// It takes the place of the read models.
    Yes,
    /// The read models stay as they are.
    No,
}

/// So many events at most are folded while nothing can be committed, unless something is replaced.
pub const CATCH_UP_MAX: u64 = 2_000;

/// The rows of what was recorded since the shadow was filled; asked for while nothing is committed.
#[async_trait]
pub trait CatchUp: Send {
    /// The rows of every event up to this position, which can be read already.
    async fn rows(&mut self, to: u64) -> Result<Vec<Row>, StoreError>;
}

/// How the end of a rebuild went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// The log has grown by more than [`CATCH_UP_MAX`] events meanwhile; catch up first.
    Behind,
    /// There is no such rebuild any more: another process has ended it.
    Gone,
    /// One per read model.
    Compared(Vec<Difference>),
}

/// The part of a store that a rebuild uses.
#[async_trait]
pub trait Shadows: Send + Sync {
    /// Goes on with the rebuild that was begun, or begins one, and tells how far the shadow is filled.
    /// Whoever did it before is refused from now on.
    async fn shadow_begin(&self, run: RebuildId) -> Result<u64, StoreError>;
    /// Fills the shadow from one position to another; `false` if another run has begun since, or it is not filled up to
    /// the first of them any more. Rows of later events may be there before the position is moved: they are written again.
    async fn shadow_fill(
        &self,
        run: RebuildId,
        rows: Vec<Row>,
        from: u64,
        to: u64,
    ) -> Result<bool, StoreError>;
    /// Compares the read models with a shadow that is filled up to here, and ends the rebuild. What was recorded since is
    /// asked for in the same transaction, for while commits follow upon each other nobody would ever find the shadow filled
    /// up to the end. Commits wait only where something differs and is replaced; everything can be read all the time.
    async fn shadow_finish(
        &self,
        run: RebuildId,
        filled: u64,
        how: (Swap, Pace),
        rest: &mut dyn CatchUp,
    ) -> Result<Finished, StoreError>;
}
