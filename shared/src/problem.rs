//! Problem documents (RFC 9457): one shape for every error of every endpoint and for a failed operation.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One fault of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON Pointer into the body, or the name of a query parameter or header.
    pub pointer: String,
    /// The problem code of this fault.
    pub code: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// `application/problem+json` (API.md §1, Failure).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:mission-control:problem:<code>`.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// A few words, the same for every problem of this code.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// For a person: what happened and what to do.
    pub detail: String,
    /// The path or operation it happened at.
    pub instance: String,
    /// Machine-readable.
    pub code: String,
    /// The request that failed.
    pub request_id: Option<String>,
    /// Every fault of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The step of provisioning that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The gateway concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_id: Option<String>,
    /// The operation concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The gateway's version: absent where it does not matter, null where it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub runtime_version: Option<Option<String>>,
    /// The version that is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_version: Option<String>,
    /// The device that a person must approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The pairing request to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairing_request_id: Option<String>,
}

/// Tells a null from an absent member.
mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(
        clippy::option_option,
        clippy::ref_option,
        reason = "absent and null differ; serde sets the signature"
    )]
    pub(super) fn serialize<S: Serializer>(value: &Option<Option<String>>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(to)
    }

    #[expect(clippy::option_option, reason = "absent and null differ")]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(from).map(Some)
    }
}

impl Problem {
    /// A problem without the optional members.
    #[must_use]
    pub fn new(code: &str, status: u16, title: &str, detail: impl Into<String>) -> Self {
        Self {
            problem_type: format!("urn:mission-control:problem:{code}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            instance: String::new(),
            code: code.to_owned(),
            request_id: None,
            errors: Vec::new(),
            stage: None,
            gateway_id: None,
            operation: None,
            runtime_version: None,
            minimum_version: None,
            device_id: None,
            pairing_request_id: None,
        }
    }
}
