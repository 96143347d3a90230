//! One master key, and what is derived from it.

use std::{fmt, path::Path};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{VaultError, write_private};
use crate::{commit::Sealed, secret::Secret};

/// The id of a key, from its check value: it stands in every seal.
#[must_use]
pub fn key_id(check: &str) -> String {
    check.chars().take(8).collect()
}

/// A key that seals and opens. `Debug` prints its id only.
pub struct MasterKey {
    id: String,
    sealing: Aes256Gcm,
    fingerprints: Zeroizing<[u8; 32]>,
    check: String,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl MasterKey {
    /// The keys for each purpose, derived from 32 bytes.
    #[must_use]
    pub fn new(master: &[u8; 32]) -> Self {
        let derive = |purpose: &str| {
            let mut key = Zeroizing::new([0_u8; 32]);
            // 32 bytes are far below the limit of 255 hash lengths: the expansion cannot fail.
            let _ = Hkdf::<Sha256>::new(None, master).expand(purpose.as_bytes(), key.as_mut_slice());
            key
        };
        let check = hex::encode(derive("mission-control check value").as_slice());
        let sealing = derive("mission-control sealed secrets");
        Self {
            id: key_id(&check),
            sealing: Aes256Gcm::new(&(*sealing).into()),
            fingerprints: derive("mission-control request fingerprints"),
            check,
        }
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// [`VaultError::Missing`], [`VaultError::File`] or [`VaultError::Malformed`].
    pub fn read(path: &Path) -> Result<Self, VaultError> {
        let shown = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(VaultError::Missing { path: shown });
            }
            Err(source) => return Err(VaultError::File { path: shown, source }),
        };
        let mut master = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(text.trim(), master.as_mut_slice())
            .map_err(|_| VaultError::Malformed { path: shown })?;
        Ok(Self::new(&master))
    }

    /// Makes a key file with mode 0600.
    ///
    /// # Errors
    ///
    /// [`VaultError::File`], also if there is one already.
    pub fn create(path: &Path) -> Result<(), VaultError> {
        let mut key = Zeroizing::new([0_u8; 32]);
        rand::fill(key.as_mut_slice());
        let text = Zeroizing::new(hex::encode(key.as_slice()));
        write_private(path, &text)
            .map_err(|source| VaultError::File { path: path.display().to_string(), source })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the database keeps to know it again.
    #[must_use]
    pub fn check(&self) -> &str {
        &self.check
    }

    pub(super) fn seal(&self, owner: &str, secret: &Secret) -> Result<Sealed, VaultError> {
        let mut nonce = [0_u8; 12];
        rand::fill(&mut nonce);
        let payload = Payload { msg: secret.expose().as_bytes(), aad: owner.as_bytes() };
        let ciphertext = self
            .sealing
            .encrypt(&nonce.into(), payload)
            .map_err(|_| VaultError::Sealed { owner: owner.to_owned() })?;
        Ok(Sealed { key_id: self.id.clone(), nonce: nonce.to_vec(), ciphertext })
    }

    pub(super) fn open(&self, owner: &str, sealed: &Sealed) -> Result<Secret, VaultError> {
        let failed = || VaultError::Sealed { owner: owner.to_owned() };
        let nonce: [u8; 12] = sealed.nonce.as_slice().try_into().map_err(|_| failed())?;
        let payload = Payload { msg: &sealed.ciphertext, aad: owner.as_bytes() };
        let clear = self.sealing.decrypt(&nonce.into(), payload).map_err(|_| failed())?;
        String::from_utf8(clear).map(Secret::new).map_err(|_| failed())
    }

    pub(super) fn fingerprint(&self, body: &[u8]) -> Vec<u8> {
        fingerprint(&self.fingerprints, body)
    }

    /// The key of its fingerprints alone: it tells nothing of the master key, and opens nothing.
    pub(super) fn fingerprints(&self) -> &[u8; 32] {
        &self.fingerprints
    }
}

/// HMAC-SHA-256.
pub(super) fn fingerprint(key: &[u8; 32], body: &[u8]) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(body).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}
