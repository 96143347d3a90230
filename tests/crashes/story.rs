//! What an installation is about when it dies, and every point on its way.

use harness::fake_gateway::{Fault, Options, Version};

/// The commit of the first start.
pub(crate) const FOUNDED: &str = "commit OrganizationCreated+MemberAdded+TokenIssued";

/// One request, or what follows from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// A registration.
    Created,
    /// Of a gateway that tells its version only in its schema, and restarts for what is written.
    CreatedOnOld,
    /// Whose first attempt finds a closed port.
    CreatedLater,
    /// Whose device a person approves.
    CreatedWhenApproved,
    /// Which is refused a call for good when its agent stands.
    Failed,
    /// The same, and the agent cannot be removed at once.
    FailedAndUnreachable,
    /// The same, and a job removes it.
    FailedAndCleaned,
    /// The same, and the gateway will not remove it.
    FailedAndLeft,
    /// A failed registration is run again.
    Retried,
    /// A registration is cancelled while it writes.
    Cancelled,
    /// The tokens of a failed registration are erased.
    Erased,
    /// The workspace changes.
    Updated,
    /// The URL changes.
    Moved,
    /// The new token is refused.
    UpdateFailed,
    /// The name changes while the gateway is away.
    Renamed,
    /// The agent is written anew.
    Synced,
    /// The gateway refuses us meanwhile.
    SyncFailed,
    /// The gateway is looked at.
    Looked,
    /// The gateway is removed.
    Deleted,
    /// The gateway refuses us meanwhile.
    DeletionFailed,
}

/// How it ends, whoever dies on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Listed, with one agent that was woken once.
    Active,
    /// Not listed, without an agent.
    Gone,
    /// Not listed, with an agent that is told to be left behind.
    Left,
}

impl Story {
    pub(crate) const ALL: [Self; 20] = [
        Self::Created,
        Self::CreatedOnOld,
        Self::CreatedLater,
        Self::CreatedWhenApproved,
        Self::Failed,
        Self::FailedAndUnreachable,
        Self::FailedAndCleaned,
        Self::FailedAndLeft,
        Self::Retried,
        Self::Cancelled,
        Self::Erased,
        Self::Updated,
        Self::Moved,
        Self::UpdateFailed,
        Self::Renamed,
        Self::Synced,
        Self::SyncFailed,
        Self::Looked,
        Self::Deleted,
        Self::DeletionFailed,
    ];

    /// Where it dies, once before and once after each: all that it passes and no earlier story has passed.
    pub(crate) const fn points(self) -> &'static [&'static str] {
        match self {
            Self::Created => &[
                "commit GatewayRequested",
                "call connect",
                "call config.get",
                "call agents.create",
                "call status",
                "call config.patch",
                "call agents.files.set",
                "call sessions.patch",
                "call agents.list",
                "call chat.send",
                "commit GatewayVerified+MainAgentProvisioned+GatewayCreated",
            ],
            Self::CreatedOnOld => &["call config.schema"],
            Self::CreatedLater => &["commit ProvisioningAttemptFailed", "claim jobs"],
            Self::CreatedWhenApproved => &["commit PairingRequired"],
            Self::Failed => &["call agents.delete", "commit GatewayCreationFailed+MainAgentRemoved"],
            Self::FailedAndUnreachable => &["commit GatewayCreationFailed", "commit job postponed"],
            Self::FailedAndCleaned | Self::Moved => &["commit MainAgentRemoved"],
            Self::FailedAndLeft => &["commit MainAgentLeftBehind"],
            Self::Retried => &["commit GatewayCreationRetried"],
            Self::Cancelled => &["commit GatewayCreationCancelled"],
            Self::Erased => &["commit SecretErased"],
            Self::Updated => &[
                "commit GatewayUpdateRequested",
                "call agents.update",
                "call agents.files.get",
                "commit GatewayUpdated",
            ],
            Self::UpdateFailed => &["commit GatewayUpdateFailed"],
            Self::Renamed => &["commit GatewayUpdated", "commit MainAgentProvisioned"],
            Self::Synced => {
                &["commit TemplateSyncRequested", "call sessions.delete", "commit TemplatesSynced"]
            }
            Self::SyncFailed => &["commit TemplateSyncFailed"],
            Self::Looked => &["commit job enqueued", "call sessions.list", "commit job ended"],
            Self::Deleted => &["commit GatewayDeletionRequested", "commit SecretErased+GatewayDeleted"],
            Self::DeletionFailed => &["commit GatewayDeletionFailed"],
        }
    }

    /// What its gateway is.
    pub(crate) fn gateway(self) -> Options {
        let drop_delete = Fault::DropAt { method: "agents.delete".to_owned(), times: usize::MAX };
        let pairing = Fault::PairingRequired { request_id: "req-1".to_owned(), approved_after: None };
        match self {
            Self::CreatedOnOld => Options::version(Version::V2026_2_9),
            Self::CreatedWhenApproved => Options::default().with(pairing),
            Self::Failed | Self::Erased | Self::Retried => {
                Options::default().with(refuse("agents.files.set"))
            }
            Self::FailedAndUnreachable | Self::FailedAndCleaned => {
                Options::default().with(refuse("agents.files.set")).with(drop_delete)
            }
            Self::FailedAndLeft => {
                Options::default().with(refuse("agents.files.set")).with(refuse("agents.delete"))
            }
            Self::Created
            | Self::CreatedLater
            | Self::Cancelled
            | Self::Updated
            | Self::Moved
            | Self::UpdateFailed
            | Self::Renamed
            | Self::Synced
            | Self::SyncFailed
            | Self::Looked
            | Self::Deleted
            | Self::DeletionFailed => Options::default(),
        }
    }

    /// How it ends.
    pub(crate) const fn end(self) -> End {
        match self {
            Self::Created
            | Self::CreatedOnOld
            | Self::CreatedLater
            | Self::CreatedWhenApproved
            | Self::Retried
            | Self::Updated
            | Self::Moved
            | Self::UpdateFailed
            | Self::Renamed
            | Self::Synced
            | Self::SyncFailed
            | Self::Looked
            | Self::DeletionFailed => End::Active,
            Self::Failed
            | Self::FailedAndUnreachable
            | Self::FailedAndCleaned
            | Self::Cancelled
            | Self::Erased
            | Self::Deleted => End::Gone,
            Self::FailedAndLeft => End::Left,
        }
    }

    /// The event that ends what was asked for, exactly once.
    pub(crate) const fn terminal(self) -> &'static str {
        match self {
            Self::Created
            | Self::CreatedOnOld
            | Self::CreatedLater
            | Self::CreatedWhenApproved
            | Self::Retried
            | Self::Looked => "GatewayCreated",
            Self::Failed
            | Self::FailedAndUnreachable
            | Self::FailedAndCleaned
            | Self::FailedAndLeft
            | Self::Erased => "GatewayCreationFailed",
            Self::Cancelled => "GatewayCreationCancelled",
            Self::Updated | Self::Moved | Self::Renamed => "GatewayUpdated",
            Self::UpdateFailed => "GatewayUpdateFailed",
            Self::Synced => "TemplatesSynced",
            Self::SyncFailed => "TemplateSyncFailed",
            Self::Deleted => "GatewayDeleted",
            Self::DeletionFailed => "GatewayDeletionFailed",
        }
    }

    /// The event after which its gateway changes its manner, without which nobody would come to the point.
    pub(crate) fn changes_after(self) -> Option<&'static str> {
        [
            (Self::FailedAndCleaned, "GatewayCreationFailed"),
            (Self::CreatedLater, "ProvisioningAttemptFailed"),
            (Self::Renamed, "GatewayUpdated"),
        ]
        .into_iter()
        .find_map(|(story, event)| (story == self).then_some(event))
    }
}

/// A call that is refused for good.
pub(crate) fn refuse(method: &str) -> Fault {
    Fault::RefuseCall {
        method: method.to_owned(),
        code: "INVALID_REQUEST".to_owned(),
        message: "not here".to_owned(),
        details: None,
        retryable: None,
    }
}
