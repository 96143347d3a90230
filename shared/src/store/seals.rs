//! Sealed secrets as the rotation of the master key sees them.

use async_trait::async_trait;

use super::StoreError;
use crate::commit::Sealed;

/// Name under which the check value of the master key stands in the database.
pub const KEY_CHECK: &str = "master_key_check";
/// Name under which the check value of the next master key stands while the key is being rotated.
pub const NEXT_KEY_CHECK: &str = "master_key_next";

/// A secret that is to be sealed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reseal {
    /// Whose.
    pub owner: String,
    /// Of the seal that it replaces: another one stays.
    pub nonce: Vec<u8>,
    /// The new seal.
    pub sealed: Sealed,
}

/// The part of a store that a rotation of the master key needs.
#[async_trait]
pub trait Seals: Send + Sync {
    /// How many secrets are sealed with each key, by its id.
    async fn seals(&self) -> Result<Vec<(String, u64)>, StoreError>;
    /// A page of the secrets that are not sealed with this key, after an owner, in order.
    async fn sealed_otherwise(
        &self,
        key_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, Sealed)>, StoreError>;
    /// Seals anew what has not changed since it was read, and tells how many that were.
    async fn reseal(&self, seals: Vec<Reseal>) -> Result<u64, StoreError>;
}
