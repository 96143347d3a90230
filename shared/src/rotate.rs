//! Rotates the master key while the installation runs; can be ended at any point and run again.
//!
//! 1. Every process that is there knows the next key.
//! 2. The database names it: from then on everybody seals with it, and both keys open.
//! 3. What the old key sealed is sealed anew.
//! 4. One commit makes the next key the key of the database.

use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::{
    commit::{Commit, InstallationChange, KEY_KEPT_HOURS},
    domain::key::Event,
    envelope::{Actor, Metadata, NewEvent, StreamId},
    ids::EventId,
    install::{checkpoint_seed, device_seed, resealed_seeds},
    presence::LOST_AFTER,
    register::Desk,
    store::{CommitError, KEY_CHECK, NEXT_KEY_CHECK, Process, Reseal, StoreError},
    vault::{FORMER_NAME, VaultError, key_id},
};

/// Secrets that are sealed anew in one transaction.
const PAGE: u32 = 200;
/// For every process to tell that it has the next key, or seals with it: a few of its reports.
const HEARD: Duration = Duration::from_secs(15);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// What was sealed with the old key before everybody sealed with the next one is committed by then, or never: a batch of
/// commits ends within this time.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// Why the key was not rotated. Whatever was done until then stays, and nothing is lost: run it again.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The database has no key yet.
    #[error("this database has no master key yet; `mission-control serve` sets it at its first start")]
    NoKey,
    /// A rotation to another key is under way.
    #[error("a rotation to the key with the id {0} was begun: put that key in place and end it first")]
    Another(String),
    /// Processes that do not have the next key.
    #[error(
        "nothing was changed: {} do not have the key with the id {key_id} yet; put a copy beside each one's master key, with .next after its name, and run this again",
        told(.processes)
    )]
    Lacking {
        /// The next key.
        key_id: String,
        /// Which processes.
        processes: Vec<Process>,
    },
    /// Processes that seal with the old key although the rotation has begun.
    #[error(
        "the rotation has begun, both keys are in use and nothing is lost, but {} still seal with the old key; see their logs, restart them, and run this again",
        told(.processes)
    )]
    Behind {
        /// Which processes.
        processes: Vec<Process>,
    },
    /// Secrets that no key here opens.
    #[error(
        "the rotation has begun and both keys stay in use, but {} sealed secrets cannot be opened with any key here, the first of {first}; give that gateway its token again by PATCH, or delete it, and run this again",
        .count
    )]
    Unopened {
        /// How many.
        count: usize,
        /// The owner of the first.
        first: String,
    },
    /// A key could not be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store said no.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event could not be written as JSON, which would be a bug.
    #[error("an event of the master key could not be written")]
    Json(#[from] serde_json::Error),
}

fn told(processes: &[Process]) -> String {
    let name = |process: &Process| format!("{} (pid {})", process.report.host, process.report.pid);
    processes.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What a rotation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Id of the key before; the same as `to` where nothing was left to do.
    pub from: String,
    /// Id of the key of the database now.
    pub to: String,
    /// Secrets that were sealed anew, beside the installation's own two.
    pub secrets: u64,
}

/// Rotates to the key with this check value, which the vault knows, or goes on with that.
///
/// # Errors
///
/// [`RotateError`] with what to do.
pub async fn rotate(desk: Desk<'_>, actor: &Actor, next: &str) -> Result<Rotated, RotateError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match once(desk, actor, next).await {
            // Another run came first, perhaps one that was ended just now: go on from there.
            Err(RotateError::Commit(CommitError::Conflict { .. })) if tries < 3 => {}
            other => return other,
        }
    }
}

async fn once(desk: Desk<'_>, actor: &Actor, next: &str) -> Result<Rotated, RotateError> {
    let to = key_id(next);
    let current = desk.store.installation_value(KEY_CHECK, None).await?.ok_or(RotateError::NoKey)?;
    let from = key_id(&current);
    desk.vault.learn_former(desk.store).await?;
    if current == next {
        desk.vault.follow(next, None);
        let secrets = reseal(desk, &to).await?;
        return Ok(Rotated { from: to.clone(), to, secrets });
    }
    match desk.store.installation_value(NEXT_KEY_CHECK, None).await? {
        Some(begun) if begun == next => {}
        Some(another) => return Err(RotateError::Another(key_id(&another))),
        None => begin(desk, actor, (&from, next)).await?,
    }
    desk.vault.follow(&current, Some(next));
    let is_behind = |keys: &str| keys.split(',').next() != Some(to.as_str());
    match wait_for_all(desk, is_behind).await? {
        Heard::Nobody => {}
        Heard::All => tokio::time::sleep(UNDER_WAY).await,
        Heard::Not(processes) => return Err(RotateError::Behind { processes }),
    }
    let secrets = reseal(desk, &to).await?;
    finish(desk, actor, (&from, next), secrets).await?;
    Ok(Rotated { from, to, secrets })
}

async fn begin(desk: Desk<'_>, actor: &Actor, (from, next): (&str, &str)) -> Result<(), RotateError> {
    let to = key_id(next);
    let lacks = |keys: &str| !keys.split(',').any(|id| id == to);
    if let Heard::Not(processes) = wait_for_all(desk, lacks).await? {
        return Err(RotateError::Lacking { key_id: to, processes });
    }
    // Made now, so that nobody makes one with the old key later.
    device_seed(desk.store, desk.vault).await?;
    checkpoint_seed(desk.store, desk.vault).await?;
    let event = Event::RotationBegun { from: from.to_owned(), to, by: actor.name.clone() };
    append(desk, actor, event, vec![InstallationChange::put(NEXT_KEY_CHECK, next)]).await
}

async fn finish(
    desk: Desk<'_>,
    actor: &Actor,
    (from, next): (&str, &str),
    secrets: u64,
) -> Result<(), RotateError> {
    let now = desk.clock.now();
    let former = desk.vault.former(now + TimeDelta::hours(KEY_KEPT_HOURS), now)?;
    let mut changes = resealed_seeds(desk.store, desk.vault).await?;
    changes.push(InstallationChange::put(FORMER_NAME, &former));
    changes.push(InstallationChange::put(KEY_CHECK, next));
    changes.push(InstallationChange::Erase { name: NEXT_KEY_CHECK.to_owned() });
    let event = Event::Rotated { from: from.to_owned(), to: key_id(next), secrets, by: actor.name.clone() };
    append(desk, actor, event, changes).await
}

/// What the processes that are there told.
enum Heard {
    Nobody,
    All,
    Not(Vec<Process>),
}

/// Waits until no process that is there is one that is waited for.
async fn wait_for_all(desk: Desk<'_>, is_waited_for: impl Fn(&str) -> bool) -> Result<Heard, StoreError> {
    let started = Instant::now();
    loop {
        let mut processes = desk.store.processes(desk.clock.now()).await?;
        processes.retain(|process| process.silent_for <= LOST_AFTER);
        if processes.is_empty() {
            return Ok(Heard::Nobody);
        }
        processes.retain(|process| is_waited_for(&process.report.key_ids));
        if processes.is_empty() {
            return Ok(Heard::All);
        }
        if started.elapsed() > HEARD {
            return Ok(Heard::Not(processes));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Seals everything anew that is not sealed with this key.
async fn reseal(desk: Desk<'_>, key_id: &str) -> Result<u64, RotateError> {
    let (mut after, mut done, mut unopened) = (String::new(), 0, vec![]);
    loop {
        let page = desk.store.sealed_otherwise(key_id, &after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        let mut seals = vec![];
        for (owner, sealed) in page {
            match desk.vault.open_sealed(&owner, &sealed) {
                Ok(clear) => {
                    let again = desk.vault.seal(&owner, &clear)?;
                    seals.push(Reseal { owner, nonce: sealed.nonce, sealed: again });
                }
                Err(_) => unopened.push(owner),
            }
        }
        done += desk.store.reseal(seals).await?;
    }
    let count = unopened.len();
    match unopened.into_iter().next() {
        Some(first) => Err(RotateError::Unopened { count, first }),
        None => Ok(done),
    }
}

async fn append(
    desk: Desk<'_>,
    actor: &Actor,
    event: Event,
    installation: Vec<InstallationChange>,
) -> Result<(), RotateError> {
    let metadata = Metadata::of(actor.clone());
    let stream = StreamId::key();
    let version = desk.store.load(&stream).await?.last().map_or(0, |last| last.version);
    let at = desk.clock.now();
    let mut commit = Commit::new(stream, None, version, at);
    commit.events.push(NewEvent::new(EventId::mint(at), &event, &metadata)?);
    commit.installation = installation;
    desk.store.commit(commit).await?;
    Ok(())
}
