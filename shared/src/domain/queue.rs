//! What operators did to the queue, and to what is made from the log. The names are stored for ever and pinned by a
//! snapshot.

use serde::{Deserialize, Serialize};

use crate::ids::{GatewayId, JobId, OperationId};

/// A job that somebody changed by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Which.
    pub job: JobId,
    /// The stored name of its kind.
    pub kind: String,
    /// For which gateway.
    pub gateway: GatewayId,
    /// For which operation.
    pub operation: OperationId,
    /// By whom, by name.
    pub by: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// Nothing is given to workers any more.
    #[serde(rename = "QueuePaused")]
    Paused {
        /// By whom, by name.
        by: String,
        /// Why.
        reason: String,
    },
    /// Workers are given jobs again.
    #[serde(rename = "QueueResumed")]
    Resumed {
        /// By whom, by name.
        by: String,
    },
    /// A worker takes no more jobs; what it does it ends.
    WorkerDrained {
        /// Which process.
        worker: String,
        /// By whom, by name.
        by: String,
        /// Why.
        reason: String,
    },
    /// A worker takes jobs again.
    WorkerResumed {
        /// Which process.
        worker: String,
        /// By whom, by name.
        by: String,
    },
    /// A job that waited is due at once.
    JobRetried(Changed),
    /// A job is not done.
    JobCancelled(Changed),
    /// What waited for a worker without a job is enqueued again.
    #[serde(rename = "QueueReconciled")]
    Reconciled {
        /// By whom, by name.
        by: String,
        /// How many gateways waited without a job when that was looked at, at most 1,000.
        gateways: u64,
    },
    /// The read models are made again from the log; what differs is replaced.
    ReadModelsRebuilt {
        /// By whom, by name.
        by: String,
    },
}

impl Event {
    /// Every stored name, in the order of the variants.
    pub const NAMES: [&'static str; 8] = [
        "QueuePaused",
        "QueueResumed",
        "WorkerDrained",
        "WorkerResumed",
        "JobRetried",
        "JobCancelled",
        "QueueReconciled",
        "ReadModelsRebuilt",
    ];
}
