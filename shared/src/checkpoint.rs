//! Signed ends of the log: who keeps one elsewhere can prove later that nothing before it was cut off or changed.

use std::{sync::Arc, time::Duration};

use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{
    chain::chain,
    clock::{Clock, micros, rfc3339},
    envelope::Hash,
    install::checkpoint_seed,
    store::{Checkpoint, Head, Store, StoreError},
    vault::{Vault, VaultError},
};

/// A checkpoint is signed at the latest after this many events.
pub const EVENTS_BETWEEN: u64 = 1_000;
/// A checkpoint is signed at the latest so long after an event.
pub const TIME_BETWEEN: Duration = Duration::from_mins(1);
/// Whoever has the turn keeps it for so long.
const TURN: Duration = Duration::from_secs(90);
/// How often the log's position is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A checkpoint as it is printed and kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Position of the last event.
    pub position: u64,
    /// Its hash, lower-case hex.
    pub hash: String,
    /// When it was signed, RFC 3339.
    pub signed_at: String,
    /// Ed25519, hex.
    pub public_key: String,
    /// Over `mc-checkpoint-v1`, position, hash and microseconds, joined by spaces; hex.
    pub signature: String,
}

impl From<&Checkpoint> for Kept {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            position: checkpoint.position,
            hash: checkpoint.hash.to_string(),
            signed_at: rfc3339(checkpoint.signed_at),
            public_key: hex::encode(&checkpoint.public_key),
            signature: hex::encode(&checkpoint.signature),
        }
    }
}

impl Kept {
    /// The end of the log that it proves; `None` if it is not signed by the key that it names.
    #[must_use]
    pub fn proves(&self) -> Option<Head> {
        let signed_at = chrono::DateTime::parse_from_rfc3339(&self.signed_at).ok()?.to_utc();
        let mut hash = Hash::default();
        hex::decode_to_slice(&self.hash, &mut hash.0).ok()?;
        let mut key = [0; 32];
        hex::decode_to_slice(&self.public_key, &mut key).ok()?;
        let mut signature = [0; 64];
        hex::decode_to_slice(&self.signature, &mut signature).ok()?;
        let head = Head { position: self.position, hash };
        let key = VerifyingKey::from_bytes(&key).ok()?;
        key.verify(&message(head, micros(signed_at)), &Signature::from_bytes(&signature)).ok()?;
        Some(head)
    }
}

fn message(head: Head, signed_at: i64) -> Vec<u8> {
    format!("mc-checkpoint-v1 {} {} {signed_at}", head.position, head.hash).into_bytes()
}

/// Signs the end of the log and keeps it; `None` for an empty log.
///
/// # Errors
///
/// [`VaultError`] if the database fails, or the key cannot be opened.
pub async fn sign(
    store: &dyn Store,
    clock: &dyn Clock,
    vault: &Vault,
) -> Result<Option<Checkpoint>, VaultError> {
    let key = SigningKey::from_bytes(&checkpoint_seed(store, vault).await?);
    let head = store.head().await?;
    if head.position == 0 {
        return Ok(None);
    }
    let signed_at = clock.now();
    let signature = key.sign(&message(head, micros(signed_at)));
    let checkpoint = Checkpoint {
        position: head.position,
        hash: head.hash,
        signed_at,
        public_key: key.verifying_key().to_bytes().to_vec(),
        signature: signature.to_bytes().to_vec(),
    };
    store.keep_checkpoint(&checkpoint).await?;
    Ok(Some(checkpoint))
}

/// Signs the end of the log now and then, until the task is dropped. Of several processes one does at a time.
pub async fn keep(store: Arc<dyn Store>, clock: Arc<dyn Clock>, vault: Arc<Vault>) {
    let holder = format!("{:016x}", rand::random::<u64>());
    let mut positions = store.positions();
    loop {
        tokio::time::sleep(LOOK).await;
        let position = *positions.borrow_and_update();
        if let Err(error) = look(&store, &clock, &vault, (position, &holder)).await {
            tracing::warn!(error = chain(&error), "the log's end could not be signed; trying again");
        }
    }
}

async fn look(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    vault: &Vault,
    (position, holder): (u64, &str),
) -> Result<(), VaultError> {
    let now = clock.now();
    let last = latest(store.as_ref()).await?;
    let is_due = last.is_none_or(|last| {
        let age = (now - last.signed_at).to_std().unwrap_or_default();
        position >= last.position + EVENTS_BETWEEN || (position > last.position && age >= TIME_BETWEEN)
    });
    if position > 0 && is_due && store.take_turn("checkpoint", holder, TURN, now).await? {
        sign(store.as_ref(), clock.as_ref(), vault).await?;
    }
    Ok(())
}

/// The latest checkpoint.
///
/// # Errors
///
/// [`StoreError`] if the database fails.
pub async fn latest(store: &dyn Store) -> Result<Option<Checkpoint>, StoreError> {
    store.checkpoint(u64::MAX).await
}
