//! The master keys: seal secrets for the database and fingerprint request bodies.
//!
//! One key at most times. While it is being rotated (`crate::rotate`) there are two, and both open; the database says
//! which one seals. The next key lies in a file beside the key file, with `.next` after its name.

mod key;
mod ring;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

pub use self::key::{MasterKey, key_id};
use self::ring::Ring;
use crate::{
    chain::chain,
    commit::Sealed,
    secret::Secret,
    store::{KEY_CHECK, NEXT_KEY_CHECK, Store, StoreError},
};

/// Name under which the fingerprint keys of former master keys stand, sealed, and their owner for the sealing.
pub const FORMER_NAME: &str = "master_key_former";

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
        "{path} is not the master key of this database, whose key has the id {key_id}; put the right one there (its backup, or another host's copy)"
    )]
    WrongKey {
        /// The file.
        path: String,
        /// Of the key that is wanted.
        key_id: String,
    },
    /// The key is being rotated, and the next one is not here.
    #[error(
        "the master key is being rotated to the key with the id {key_id}; put a copy of that one at {path} and start again"
    )]
    NextMissing {
        /// Where it is looked for.
        path: String,
        /// Of the key that is wanted.
        key_id: String,
    },
    /// A sealed secret was sealed with a key that is not here.
    #[error(
        "the sealed secret of {owner} needs the master key with the id {key_id}, which is not here; `mission-control key show` tells where keys are looked for"
    )]
    UnknownKey {
        /// Whose.
        owner: String,
        /// Of the key that is wanted.
        key_id: String,
    },
    /// A sealed secret cannot be opened: damaged, or moved to another owner.
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

/// Where the next master key lies while the key of this file is being rotated.
#[must_use]
pub fn next_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".next");
    PathBuf::from(name)
}

/// Seals and opens. `Debug` prints the keys' ids only.
pub struct Vault {
    /// `None` for a key that is in no file.
    path: Option<PathBuf>,
    ring: RwLock<Ring>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("key_ids", &self.key_ids()).finish_non_exhaustive()
    }
}

impl Vault {
    /// A vault over a 32-byte master key that is in no file.
    #[must_use]
    pub fn new(master: &[u8; 32]) -> Self {
        Self { path: None, ring: RwLock::new(Ring::of(MasterKey::new(master))) }
    }

    /// Reads the key file, and the next key's if there is one; makes the key file with mode 0600 if it is absent and
    /// `may_create`.
    ///
    /// # Errors
    ///
    /// [`VaultError`] with the file's name and what to do.
    pub fn open(path: &Path, may_create: bool) -> Result<Self, VaultError> {
        if may_create && !path.exists() {
            match MasterKey::create(path) {
                // Another process was first, and made the one that is read below.
                Err(VaultError::File { source, .. })
                    if source.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        let key = MasterKey::read(path)?;
        let vault = Self { path: Some(path.to_owned()), ring: RwLock::new(Ring::of(key)) };
        vault.reload()?;
        Ok(vault)
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ids of the keys that can be opened with; the first one seals.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        self.ring().ids()
    }

    /// Learns the keys that lie in the files now. What was known stays known until this process ends.
    ///
    /// # Errors
    ///
    /// [`VaultError`] if a file that is there holds no key.
    pub fn reload(&self) -> Result<(), VaultError> {
        let Some(path) = &self.path else { return Ok(()) };
        for path in [path.clone(), next_path(path)] {
            match MasterKey::read(&path) {
                Ok(key) => self.ring_mut().learn(key),
                Err(VaultError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Learns a key that is in no file of this process.
    pub fn learn(&self, key: MasterKey) {
        self.ring_mut().learn(key);
    }

    /// Seals from now on with the key that the database wants: the next one while there is one. `false` if that key is
    /// not here, even after another look at the files.
    pub fn follow(&self, current: &str, next: Option<&str>) -> bool {
        let wanted = key_id(next.unwrap_or(current));
        if self.ring().seals_with() == wanted {
            return true;
        }
        let mut found = self.ring_mut().turn_to(&wanted);
        if !found && self.reload().is_ok() {
            found = self.ring_mut().turn_to(&wanted);
        }
        if found {
            tracing::info!(key.id = wanted, "secrets are sealed with another master key from now on");
        }
        found
    }

    /// Proves that these are the keys that the database was sealed with; the first one to ask sets it.
    ///
    /// # Errors
    ///
    /// [`VaultError::WrongKey`] for another key, [`VaultError::NextMissing`] while the key is being rotated to one that is
    /// not here, [`VaultError::Store`] if the database fails.
    pub async fn check(&self, store: &dyn Store, path: &Path) -> Result<(), VaultError> {
        let ours = self.ring().sealing().check().to_owned();
        let stands = store.installation_value(KEY_CHECK, Some(&ours)).await?.unwrap_or(ours);
        let next = store.installation_value(NEXT_KEY_CHECK, None).await?;
        let is_known = |check: &str| self.ring().knows(&key_id(check));
        if !is_known(&stands) {
            return Err(VaultError::WrongKey { path: path.display().to_string(), key_id: key_id(&stands) });
        }
        if let Some(next) = next.as_deref().filter(|next| !is_known(next)) {
            let path = next_path(path).display().to_string();
            return Err(VaultError::NextMissing { path, key_id: key_id(next) });
        }
        self.follow(&stands, next.as_deref());
        match self.learn_former(store).await {
            Err(error) if !error.is_away() => {
                let error = chain(&error);
                tracing::warn!(
                    error,
                    "requests that were answered under a former master key are not known again"
                );
                Ok(())
            }
            learned => learned,
        }
    }

    /// Learns the fingerprint keys of former master keys, for requests that were first answered under them.
    ///
    /// # Errors
    ///
    /// [`VaultError`] if the database fails, or what is stored cannot be opened.
    pub async fn learn_former(&self, store: &dyn Store) -> Result<(), VaultError> {
        let Some(stored) = store.installation_value(FORMER_NAME, None).await? else { return Ok(()) };
        let opened = self.open_sealed(FORMER_NAME, &unpack(FORMER_NAME, &stored)?)?;
        self.ring_mut().learn_former(opened.expose());
        Ok(())
    }

    /// What is to stand under [`FORMER_NAME`] once this key is the only one: the fingerprint keys of the others, until
    /// then, and of those before that are still needed at `now`. Sealed with the key that seals now.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`], which would be a bug.
    pub fn former(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> Result<String, VaultError> {
        let text = self.ring().former(until, now);
        Ok(pack(&self.seal(FORMER_NAME, &Secret::new(text))?))
    }

    /// Seals a secret for its owner.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`] if the secret is too long for AES-GCM, which no secret here is.
    pub fn seal(&self, owner: &str, secret: &Secret) -> Result<Sealed, VaultError> {
        self.ring().sealing().seal(owner, secret)
    }

    /// Opens what was sealed for this owner.
    ///
    /// # Errors
    ///
    /// [`VaultError::UnknownKey`] if its key is not here, even after another look at the files, [`VaultError::Sealed`] if
    /// it was sealed for another owner or was damaged.
    pub fn open_sealed(&self, owner: &str, sealed: &Sealed) -> Result<Secret, VaultError> {
        if !self.ring().knows(&sealed.key_id) {
            self.reload()?;
        }
        let ring = self.ring();
        let Some(key) = ring.key(&sealed.key_id) else {
            return Err(VaultError::UnknownKey { owner: owner.to_owned(), key_id: sealed.key_id.clone() });
        };
        key.open(owner, sealed)
    }

    /// HMAC-SHA-256 of a request body, under a key of its own.
    #[must_use]
    pub fn fingerprint(&self, body: &[u8]) -> Vec<u8> {
        self.ring().sealing().fingerprint(body)
    }

    /// Whether a fingerprint was made of this body, with any key that is known or was the installation's lately.
    #[must_use]
    pub fn is_fingerprint(&self, body: &[u8], fingerprint: &[u8]) -> bool {
        self.ring().is_fingerprint(body, fingerprint)
    }
}

/// A sealed value as one text, for a place that holds texts.
#[must_use]
pub fn pack(sealed: &Sealed) -> String {
    format!("{}.{}.{}", sealed.key_id, hex::encode(&sealed.nonce), hex::encode(&sealed.ciphertext))
}

/// Reads what [`pack`] wrote.
///
/// # Errors
///
/// [`VaultError::Sealed`] if it is damaged.
pub fn unpack(owner: &str, text: &str) -> Result<Sealed, VaultError> {
    let damaged = || VaultError::Sealed { owner: owner.to_owned() };
    let mut parts = text.split('.');
    let mut part = || parts.next().ok_or_else(damaged);
    let key_id = part()?.to_owned();
    let nonce = hex::decode(part()?).map_err(|_| damaged())?;
    let ciphertext = hex::decode(part()?).map_err(|_| damaged())?;
    Ok(Sealed { key_id, nonce, ciphertext })
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
    let text = Zeroizing::new(format!("{text}\n"));
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // A link fails if somebody else was first, where a rename would replace their key.
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn a_sealed_secret_opens_for_its_owner_and_key_only() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal("gateway-1/token", &Secret::from("hunter22")).unwrap();
        assert_eq!(vault.open_sealed("gateway-1/token", &sealed).unwrap().expose(), "hunter22");
        assert!(matches!(vault.open_sealed("gateway-2/token", &sealed), Err(VaultError::Sealed { .. })));
        let other = Vault::new(&[8; 32]).open_sealed("gateway-1/token", &sealed);
        assert!(matches!(other, Err(VaultError::UnknownKey { .. })));
        assert!(!sealed.ciphertext.windows(4).any(|bytes| bytes == b"hunt"));
        assert_eq!(unpack("x", &pack(&sealed)).unwrap(), sealed);
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

    #[test]
    fn a_vault_finds_the_next_key_when_it_needs_it_and_opens_with_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let vault = Vault::open(&path, true).unwrap();
        let before = vault.seal("a", &Secret::from("hunter22")).unwrap();
        let next = MasterKey::new(&[8; 32]);
        let current = vault.ring().sealing().check().to_owned();
        assert!(!vault.follow(&current, Some(next.check())));
        write_private(&next_path(&path), &"08".repeat(32)).unwrap();
        assert!(vault.follow(&current, Some(next.check())));
        assert_eq!(vault.key_ids(), [next.id(), &key_id(&current)]);
        let after = vault.seal("a", &Secret::from("hunter22")).unwrap();
        assert_eq!((before.key_id.as_str(), after.key_id.as_str()), (key_id(&current).as_str(), next.id()));
        for sealed in [before, after] {
            assert_eq!(vault.open_sealed("a", &sealed).unwrap().expose(), "hunter22");
        }
    }

    #[test]
    fn a_fingerprint_of_a_former_key_is_known_for_a_day() {
        let (old, now) = (Vault::new(&[7; 32]), SystemClock.now());
        let fingerprint = old.fingerprint(b"body");
        old.learn(MasterKey::new(&[8; 32]));
        assert!(old.follow("", Some(MasterKey::new(&[8; 32]).check())));
        assert!(old.is_fingerprint(b"body", &fingerprint));
        let former = old.former(now + chrono::TimeDelta::hours(24), now).unwrap();
        let new = Vault::new(&[8; 32]);
        assert!(!new.is_fingerprint(b"body", &fingerprint));
        let opened = new.open_sealed(FORMER_NAME, &unpack(FORMER_NAME, &former).unwrap()).unwrap();
        new.ring_mut().learn_former(opened.expose());
        assert!(new.is_fingerprint(b"body", &fingerprint));
        assert!(!new.is_fingerprint(b"other", &fingerprint));
        let later = new.ring().former(now, now + chrono::TimeDelta::hours(25));
        assert_eq!(later, "", "what nobody can ask for any more is forgotten");
    }
}
