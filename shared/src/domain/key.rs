//! What happened to the master key. The names are stored for ever and pinned by a snapshot; a key is told by its id.

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// Secrets are sealed with the next key from now on; both open.
    #[serde(rename = "MasterKeyRotationBegun")]
    RotationBegun {
        /// Id of the key that sealed until now.
        from: String,
        /// Id of the next key.
        to: String,
        /// By whom, by name.
        by: String,
    },
    /// Everything is sealed with the next key, which is the key of the database now.
    #[serde(rename = "MasterKeyRotated")]
    Rotated {
        /// Id of the key that is of no more use, except for backups.
        from: String,
        /// Id of the key.
        to: String,
        /// Secrets that the run which ended it sealed anew.
        secrets: u64,
        /// By whom, by name.
        by: String,
    },
}

impl Event {
    /// Every stored name, in the order of the variants.
    pub const NAMES: [&'static str; 2] = ["MasterKeyRotationBegun", "MasterKeyRotated"];
}
