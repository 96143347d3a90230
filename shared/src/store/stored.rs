//! Stored values read back: the same checks for every database.

use std::str::FromStr;

use super::StoreError;
use crate::{domain::organization::Role, envelope::Hash};

/// The read models, or their shadows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    Live,
    Shadow,
}

impl Tables {
    /// The text of a statement that has `{}` before the name of each table.
    pub(super) fn name(self, text: &str) -> String {
        match self {
            Self::Live => text.replace("{}", ""),
            Self::Shadow => text.replace("{}", "shadow_"),
        }
    }
}

/// A read model and its columns after the id: what a rebuild compares and swaps.
pub(super) const PROJECTIONS: [(&str, &[&str]); 8] = [
    ("gateways", &["organization_id", "created_at", "document"]),
    ("operations", &["organization_id", "gateway_id", "status", "created_at", "document"]),
    ("agents", &["organization_id", "gateway_id", "created_at", "document"]),
    ("organizations", &["name", "created_at"]),
    ("members", &["organization_id", "name", "role"]),
    ("tokens", &["organization_id", "document"]),
    ("queue_pauses", &["since", "paused_by", "reason"]),
    ("worker_drains", &["since", "drained_by", "reason"]),
];

/// A position, version or count as a database stores it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A position, version or count as it was stored.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A small number as it was stored: an attempt, a count of lost leases.
pub(super) fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Parses a stored value.
pub(super) fn parse<T: FromStr>(what: &'static str, value: String) -> Result<T, StoreError> {
    value.parse().map_err(|_| StoreError::Unreadable { what, value })
}

/// Parses a stored JSON document.
pub(super) fn parse_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    value: String,
) -> Result<T, StoreError> {
    serde_json::from_str(&value).map_err(|_| StoreError::Unreadable { what, value })
}

/// A stored role.
pub(super) fn parse_role(value: &str) -> Result<Role, StoreError> {
    parse_json("role", format!("\"{value}\""))
}

/// A stored hash.
pub(super) fn parse_hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    let hash = bytes.try_into().map(Hash);
    hash.map_err(|_| StoreError::Unreadable { what: "hash", value: hex::encode(bytes) })
}
