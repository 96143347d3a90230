//! What a change of a registered gateway changes, and what it leaves as it is.

use serde::{Deserialize, Serialize};

use super::{
    event::{MainAgent, Requested, Verified},
    failure::{Code, Failure},
    patience::Patience,
    url::GatewayUrl,
};
use crate::ids::OperationId;

/// What becomes of the gateway's token. The token itself is sealed elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenChange {
    /// Another one is used.
    Set,
    /// None is used any more.
    Cleared,
}

/// The fields that change; `None` leaves one as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Changes {
    /// 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<GatewayUrl>,
    /// Absolute path on the gateway's host, without a trailing slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_root: Option<String>,
    /// The gateway's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenChange>,
    /// TLS certificates are not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_insecure_tls: Option<bool>,
    /// `control_ui` mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_device_pairing: Option<bool>,
}

impl Changes {
    /// Without what is already so. Of a new token only its holder can tell whether it is the old one.
    #[must_use]
    pub fn against(self, request: &Requested) -> Self {
        Self {
            name: self.name.filter(|name| *name != request.name),
            url: self.url.filter(|url| *url != request.url),
            workspace_root: self.workspace_root.filter(|root| *root != request.workspace_root),
            token: self.token.filter(|token| *token == TokenChange::Set || request.has_token),
            allow_insecure_tls: self
                .allow_insecure_tls
                .filter(|insecure| *insecure != request.allow_insecure_tls),
            disable_device_pairing: self
                .disable_device_pairing
                .filter(|disable| *disable != request.disable_device_pairing),
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the gateway must be tried before the change takes effect.
    #[must_use]
    pub fn is_tried_first(&self) -> bool {
        !Self { name: None, ..self.clone() }.is_empty()
    }

    /// The request as it is with these changes.
    #[must_use]
    pub fn applied(&self, request: &Requested) -> Requested {
        let changed = self.clone();
        Requested {
            name: changed.name.unwrap_or_else(|| request.name.clone()),
            url: changed.url.unwrap_or_else(|| request.url.clone()),
            workspace_root: changed.workspace_root.unwrap_or_else(|| request.workspace_root.clone()),
            has_token: changed.token.map_or(request.has_token, |token| token == TokenChange::Set),
            allow_insecure_tls: changed.allow_insecure_tls.unwrap_or(request.allow_insecure_tls),
            disable_device_pairing: changed.disable_device_pairing.unwrap_or(request.disable_device_pairing),
            ..request.clone()
        }
    }
}

/// A change that somebody asked for. The old configuration serves until it takes effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRequested {
    /// The operation that this starts.
    pub operation: OperationId,
    /// How long to try.
    pub patience: Patience,
    /// Who asked, by name.
    pub by: String,
    /// What is to change.
    pub changes: Changes,
}

/// A change that took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    /// What changed.
    pub changes: Changes,
    /// What the gateway said of itself; `None` where it was not reached, which only a new name allows.
    pub verified: Option<Verified>,
    /// The main agent as it was written anew; `None` where a job will do it later.
    pub agent: Option<MainAgent>,
    /// The agent on the gateway that was left, where a job removes it.
    pub leaves: Option<String>,
}

/// A change that did not take effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateFailed {
    /// Where and why.
    #[serde(flatten)]
    pub failure: Failure,
    /// The problem code that the caller is told.
    pub code: Code,
    /// Attempts that were made.
    pub attempts: u32,
    /// An agent that may have been left on the gateway that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<String>,
}
