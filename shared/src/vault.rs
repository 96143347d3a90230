//! The master key: seals secrets for the database and fingerprints request bodies.

use std::{fmt, path::Path};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    commit::Sealed,
    secret::Secret,
    store::{Store, StoreError},
};

/// Name under which the check value of the master key stands in the database.
const CHECK_NAME: &str = "master_key_check";

/// Why the master key cannot be used. Holds nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no key and this process may not make one.
    #[error(
        "there is no master key at {path}; copy the one that the installation uses, or start `mission-control serve` with a worker once to make one"
    )]
    Missing {
        /// The file.
        path: String,
    },
    /// The file cannot be read or written.
    #[error("the master key file {path} cannot be used")]
    File {
        /// The file.
        path: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// It does not hold 64 hex digits.
    #[error("{path} does not hold a master key: 64 hex digits are wanted")]
    Malformed {
        /// The file.
        path: String,
    },
    /// The database was sealed with another key.
    #[error(
        "{path} is not the master key of this database; put the right one there (its backup, or another host's copy)"
    )]
    WrongKey {
        /// The file.
        path: String,
    },
    /// A sealed secret cannot be opened: damaged, moved to another owner, or sealed with another key.
    #[error("the sealed secret of {owner} cannot be opened")]
    Sealed {
        /// Whose.
        owner: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl VaultError {
    /// Whether the database is away, so that the same may succeed later.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_away())
    }
}

/// Seals and opens. `Debug` prints the key's id only.
pub struct Vault {
    key_id: String,
    sealing: Aes256Gcm,
    fingerprints: Zeroizing<[u8; 32]>,
    check: String,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Vault {
    /// A vault over a 32-byte master key.
    #[must_use]
    pub fn new(master: &[u8; 32]) -> Self {
        let derive = |purpose: &str| {
            let mut key = Zeroizing::new([0_u8; 32]);
            // 32 bytes are far below the limit of 255 hash lengths: the expansion cannot fail.
            let _ = Hkdf::<Sha256>::new(None, master).expand(purpose.as_bytes(), key.as_mut_slice());
            key
        };
        let check = hex::encode(derive("mission-control check value").as_slice());
        let key_id = check.chars().take(8).collect();
        let sealing = derive("mission-control sealed secrets");
        Self {
            key_id,
            sealing: Aes256Gcm::new(&(*sealing).into()),
            fingerprints: derive("mission-control request fingerprints"),
            check,
        }
    }

    /// Ids of the keys that can be opened with; the first one seals.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        vec![self.key_id.clone()]
    }

    /// Reads the key file; makes one with mode 0600 if it is absent and `may_create`.
    ///
    /// # Errors
    ///
    /// [`VaultError`] with the file's name and what to do.
    pub fn open(path: &Path, may_create: bool) -> Result<Self, VaultError> {
        let shown = path.display().to_string();
        let failed = |source| VaultError::File { path: shown.clone(), source };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_create => {
                let mut key = Zeroizing::new([0_u8; 32]);
                rand::fill(key.as_mut_slice());
                let text = Zeroizing::new(hex::encode(key.as_slice()));
                write_private(path, &text).map_err(failed)?;
                text
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(VaultError::Missing { path: shown });
            }
            Err(error) => return Err(failed(error)),
        };
        let mut master = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(text.trim(), master.as_mut_slice())
            .map_err(|_| VaultError::Malformed { path: shown })?;
        Ok(Self::new(&master))
    }

    /// Proves that this is the key that the database was sealed with; the first one to ask sets it.
    ///
    /// # Errors
    ///
    /// [`VaultError::WrongKey`] for another key, [`VaultError::Store`] if the database fails.
    pub async fn check(&self, store: &dyn Store, path: &Path) -> Result<(), VaultError> {
        let stands = store.installation_value(CHECK_NAME, Some(&self.check)).await?;
        if stands.as_deref() == Some(self.check.as_str()) {
            return Ok(());
        }
        Err(VaultError::WrongKey { path: path.display().to_string() })
    }

    /// Seals a secret for its owner.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`] if the secret is too long for AES-GCM, which no secret here is.
    pub fn seal(&self, owner: &str, secret: &Secret) -> Result<Sealed, VaultError> {
        let mut nonce = [0_u8; 12];
        rand::fill(&mut nonce);
        let payload = Payload { msg: secret.expose().as_bytes(), aad: owner.as_bytes() };
        let ciphertext = self
            .sealing
            .encrypt(&nonce.into(), payload)
            .map_err(|_| VaultError::Sealed { owner: owner.to_owned() })?;
        Ok(Sealed { key_id: self.key_id.clone(), nonce: nonce.to_vec(), ciphertext })
    }

    /// Opens what was sealed for this owner.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`] if it was sealed for another owner, with another key, or was damaged.
    pub fn open_sealed(&self, owner: &str, sealed: &Sealed) -> Result<Secret, VaultError> {
        let failed = || VaultError::Sealed { owner: owner.to_owned() };
        let nonce: [u8; 12] = sealed.nonce.as_slice().try_into().map_err(|_| failed())?;
        let payload = Payload { msg: &sealed.ciphertext, aad: owner.as_bytes() };
        let clear = self.sealing.decrypt(&nonce.into(), payload).map_err(|_| failed())?;
        String::from_utf8(clear).map(Secret::new).map_err(|_| failed())
    }

    /// HMAC-SHA-256 of a request body, under a key of its own.
    #[must_use]
    pub fn fingerprint(&self, body: &[u8]) -> Vec<u8> {
        Hmac::<Sha256>::new_from_slice(self.fingerprints.as_slice())
            .map(|mac| mac.chain_update(body).finalize().into_bytes().to_vec())
            .unwrap_or_default()
    }
}

/// Writes a file that only its owner may read, whole or not at all: it appears under its name when it is complete.
///
/// # Errors
///
/// The system's error; an existing file of that name is an error too.
pub fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    // A link fails if somebody else was first, where a rename would replace their key.
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_for_its_owner_and_key_only() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal("gateway-1/token", &Secret::from("hunter22")).unwrap();
        assert_eq!(vault.open_sealed("gateway-1/token", &sealed).unwrap().expose(), "hunter22");
        assert!(vault.open_sealed("gateway-2/token", &sealed).is_err());
        assert!(Vault::new(&[8; 32]).open_sealed("gateway-1/token", &sealed).is_err());
        assert!(!sealed.ciphertext.windows(4).any(|bytes| bytes == b"hunt"));
    }

    #[test]
    fn the_key_file_is_private_and_made_once() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(matches!(Vault::open(&path, false), Err(VaultError::Missing { .. })));
        let made = Vault::open(&path, true).unwrap();
        let again = Vault::open(&path, false).unwrap();
        assert_eq!(made.fingerprint(b"x"), again.fingerprint(b"x"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(Vault::open(&path, true), Err(VaultError::Malformed { .. })));
    }
}
