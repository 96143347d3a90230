//! Why a command was refused.

use crate::ids::{GatewayId, OperationId};

/// The domain said no; nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was ever registered under this id.
    #[error("no gateway was registered under this id")]
    NotRegistered,
    /// Another registration has this id.
    #[error("gateway {0} is registered already")]
    AlreadyRegistered(GatewayId),
    /// The registration has ended otherwise.
    #[error("the registration of gateway {gateway} has ended already: it {outcome}")]
    AlreadyEnded {
        /// The gateway.
        gateway: GatewayId,
        /// `succeeded` or `failed`.
        outcome: &'static str,
    },
    /// The registration has not failed, so there is nothing to clean up after it.
    #[error("the registration of gateway {0} has not failed")]
    NotFailed(GatewayId),
    /// Another change of the gateway is running.
    #[error("operation {0} of this gateway is still running")]
    Busy(OperationId),
    /// The gateway has another revision than the one that was to be changed.
    #[error("gateway {gateway} has revision {actual}")]
    OtherRevision {
        /// The gateway.
        gateway: GatewayId,
        /// The revision that it has.
        actual: u64,
    },
    /// The operation has its outcome.
    #[error("operation {0} has ended already")]
    Finished(OperationId),
    /// The sealed token of the failed registration is gone.
    #[error("the token of gateway {0} is no longer kept")]
    TokenErased(GatewayId),
    /// Part of the operation may be done, so it cannot be taken back.
    #[error("operation {0} changes a registered gateway and cannot be cancelled")]
    NotCancellable(OperationId),
}
