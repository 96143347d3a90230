//! The first start on an empty store: the first organization, its owner and a token; and the installation's device.

use chrono::{DateTime, Utc};

use crate::{
    clock::Clock,
    commit::{Commit, CredentialChange, InstallationChange},
    domain::organization::{Command, Event, Member, Organization, Refusal, Role, Token},
    envelope::{Actor, Metadata, NewEvent, StreamId},
    ids::{EventId, MemberId, OrganizationId, TokenId},
    secret::Secret,
    store::{CommitError, Store, StoreError},
    token,
    vault::{Vault, VaultError, pack, unpack},
    view::organization_rows,
};

/// Name under which the device's sealed seed stands in the database, and its owner for the sealing.
const DEVICE: &str = "installation/device";

/// Name under which the sealed seed of the key that signs checkpoints stands, and its owner for the sealing.
const CHECKPOINT: &str = "installation/checkpoint";

/// Why an order concerning organizations, members or tokens had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// The domain said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store said no.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored or new event is not JSON, which would be a bug.
    #[error("an event of an organization could not be read or written")]
    Json(#[from] serde_json::Error),
}

impl ManageError {
    /// Whether the database is away, so that the same may succeed later.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Store(error) => error.is_away(),
            Self::Commit(CommitError::Store { source, .. }) => source.is_away(),
            Self::Commit(_) | Self::Refused(_) | Self::Json(_) => false,
        }
    }
}

/// Folds an organization, or the installation's own tokens (`None`), and tells the stream's version.
///
/// # Errors
///
/// [`ManageError`] if the stream cannot be read.
pub async fn load(
    store: &dyn Store,
    organization: Option<OrganizationId>,
) -> Result<(Organization, u64), ManageError> {
    let history = store.load(&stream(organization)).await?;
    let mut state = Organization::default();
    for recorded in &history {
        state = state.evolve(&recorded.event::<Event>()?);
    }
    Ok((state, history.last().map_or(0, |last| last.version)))
}

fn stream(organization: Option<OrganizationId>) -> StreamId {
    organization.map_or_else(StreamId::installation, StreamId::from)
}

/// Decides orders one after the other and commits all that follows at once. With a new token comes its hash.
///
/// # Errors
///
/// [`ManageError`]: refused, or not written; nothing of it is then.
pub async fn manage(
    store: &dyn Store,
    clock: &dyn Clock,
    organization: Option<OrganizationId>,
    orders: Vec<Command>,
    secret: Option<&Secret>,
) -> Result<(), ManageError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let (state, version) = load(store, organization).await?;
        let commit = decide(state, version, &orders, (organization, clock.now(), secret))?;
        if commit.events.is_empty() {
            return Ok(());
        }
        match store.commit(commit).await {
            Err(CommitError::Conflict { .. }) if tries < 3 => {}
            other => return Ok(other.map(|_| ())?),
        }
    }
}

fn decide(
    mut state: Organization,
    version: u64,
    orders: &[Command],
    (organization, at, secret): (Option<OrganizationId>, DateTime<Utc>, Option<&Secret>),
) -> Result<Commit, ManageError> {
    let mut commit = Commit::new(stream(organization), organization, version, at);
    let metadata = Metadata::of(Actor::command_line());
    for order in orders {
        for event in state.decide(order.clone())? {
            state = state.evolve(&event);
            commit.rows.extend(organization_rows(organization, &state, &event, at));
            match &event {
                Event::TokenIssued(Token { token, .. }) => {
                    let hash = secret.map(|secret| token::hash(secret.expose()).to_vec());
                    let subject = token.to_string();
                    commit.credentials.extend(hash.map(|hash| CredentialChange::Put { hash, subject }));
                }
                Event::TokenRevoked { token } => {
                    commit.credentials.push(CredentialChange::Erase { subject: token.to_string() });
                }
                Event::OrganizationCreated { .. }
                | Event::MemberAdded(_)
                | Event::MemberRoleChanged { .. }
                | Event::MemberRemoved { .. } => {}
            }
            commit.events.push(NewEvent::new(EventId::mint(at), &event, &metadata)?);
        }
    }
    Ok(commit)
}

/// Founds the first organization with an owner whose token is also the operator's, if the log is empty.
///
/// Several processes may try at once: one succeeds, and the others are told `false`.
///
/// # Errors
///
/// [`ManageError`] if the database fails.
pub async fn found(store: &dyn Store, clock: &dyn Clock, secret: &Secret) -> Result<bool, ManageError> {
    let at = clock.now();
    let organization = OrganizationId::mint(at);
    let member = MemberId::mint(at);
    let orders = [
        Command::Create { name: "Default".to_owned() },
        Command::AddMember(Member { member, name: "Owner".to_owned(), role: Role::Owner }),
        Command::IssueToken(Token {
            token: TokenId::mint(at),
            member: Some(member),
            role: None,
            operator: true,
            expires_at: None,
        }),
    ];
    let mut commit = decide(Organization::default(), 0, &orders, (Some(organization), at, Some(secret)))?;
    commit.only_on_empty_log = true;
    match store.commit(commit).await {
        Ok(_) => Ok(true),
        Err(CommitError::NotEmpty) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The seed of the installation's Ed25519 device key: made once, sealed, and the same for every worker.
///
/// # Errors
///
/// [`VaultError`] if the database fails, or the stored seed cannot be opened.
pub async fn device_seed(store: &dyn Store, vault: &Vault) -> Result<[u8; 32], VaultError> {
    sealed_seed(store, vault, DEVICE).await
}

/// The seed of the Ed25519 key that signs checkpoints; not the device's.
///
/// # Errors
///
/// [`VaultError`] if the database fails, or the stored seed cannot be opened.
pub async fn checkpoint_seed(store: &dyn Store, vault: &Vault) -> Result<[u8; 32], VaultError> {
    sealed_seed(store, vault, CHECKPOINT).await
}

async fn sealed_seed(store: &dyn Store, vault: &Vault, name: &str) -> Result<[u8; 32], VaultError> {
    let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
    rand::fill(seed.as_mut_slice());
    let sealed = vault.seal(name, &Secret::new(hex::encode(seed.as_slice())))?;
    let ours = pack(&sealed);
    let stands = store.installation_value(name, Some(&ours)).await?.unwrap_or(ours);
    let damaged = |_| VaultError::Sealed { owner: name.to_owned() };
    let clear = vault.open_sealed(name, &unpack(name, &stands)?)?;
    let mut seed = [0_u8; 32];
    hex::decode_to_slice(clear.expose(), &mut seed).map_err(damaged)?;
    Ok(seed)
}

/// The seeds that stand, sealed with the key that seals now.
///
/// # Errors
///
/// [`VaultError`] if the database fails, or a seed cannot be opened.
pub async fn resealed_seeds(store: &dyn Store, vault: &Vault) -> Result<Vec<InstallationChange>, VaultError> {
    let mut changes = vec![];
    for name in [DEVICE, CHECKPOINT] {
        if let Some(stands) = store.installation_value(name, None).await? {
            let seed = vault.open_sealed(name, &unpack(name, &stands)?)?;
            changes.push(InstallationChange::put(name, &pack(&vault.seal(name, &seed)?)));
        }
    }
    Ok(changes)
}
