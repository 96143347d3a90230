//! `key show|rotate`: the master key.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use shared::{
    clock::Clock,
    config::Place,
    envelope::Actor,
    register::Desk,
    rotate::{Rotated, rotate},
    store::{KEY_CHECK, NEXT_KEY_CHECK, Store},
    vault::{MasterKey, Vault, VaultError, key_id, next_path},
};

use super::{OpsError, output::Output, print};

const EXAMPLES: &str = "The next key lies beside the master key's file, with .next after its name; it is made if it is not there. Every host needs a
copy of it before anything is changed: `key rotate` names the processes that lack one, and changes nothing until they have it.
Processes find it by themselves, without a restart. While it runs both keys are in use; ended at any point, it goes on when it
is run again. At its end this host's files are put in their places; the old key stays beside them under its id, for backups.

Examples:
  mission-control key show
  mission-control key rotate

Exit codes: 0 done, 2 not done; the message tells what to do.";

/// What to do with the master key.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum KeyCommand {
    /// Print which key the database wants, which ones are here, and what is sealed with each. Prints no key.
    Show {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Seal everything anew with the next key, which is the master key then.
    #[command(after_help = EXAMPLES)]
    Rotate,
}

/// Runs it.
///
/// # Errors
///
/// [`OpsError`] with what to do.
pub async fn run(
    place: &Place,
    store: &dyn Store,
    clock: &dyn Clock,
    command: &KeyCommand,
) -> Result<u8, OpsError> {
    match command {
        KeyCommand::Show { json } => show(place, store, Output::of(*json)).await,
        KeyCommand::Rotate => rotate_here(place, store, clock).await,
    }
}

async fn show(place: &Place, store: &dyn Store, output: Output) -> Result<u8, OpsError> {
    let path = place.master_key_path();
    let wanted = store.installation_value(KEY_CHECK, None).await?.map(|check| key_id(&check));
    let next = store.installation_value(NEXT_KEY_CHECK, None).await?.map(|check| key_id(&check));
    let here = |path: &Path| MasterKey::read(path).ok().map(|key| key.id().to_owned());
    let files = [path.clone(), next_path(&path)].map(|path| (here(&path), path));
    let seals = store.seals().await?;
    let value = json!({
        "database_key_id": wanted, "next_key_id": next,
        "files": files.iter().map(|(id, path)| json!({"path": path, "key_id": id})).collect::<Vec<_>>(),
        "sealed": seals.iter().map(|(id, count)| json!({"key_id": id, "secrets": count})).collect::<Vec<_>>(),
    });
    let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned());
    let mut lines = vec![format!("the database's key: {}", or_none(&wanted))];
    lines.extend(next.map(|next| format!("being rotated to: {next} (`mission-control key rotate` goes on)")));
    lines.extend(files.iter().map(|(id, path)| format!("in {}: {}", path.display(), or_none(id))));
    lines.extend(seals.iter().map(|(id, count)| format!("sealed with {id}: {count}")));
    output.row(&value, &lines.join("\n"))?;
    Ok(0)
}

async fn rotate_here(place: &Place, store: &dyn Store, clock: &dyn Clock) -> Result<u8, OpsError> {
    let path = place.master_key_path();
    let vault = Vault::open(&path, false)?;
    let next = next_key(store, &path).await?;
    vault.reload()?;
    vault.check(store, &path).await?;
    let desk = Desk { store, clock, vault: &vault };
    let Rotated { to, secrets, .. } = rotate(desk, &Actor::command_line(), next.check()).await?;
    print(&format!("the master key of this database is {to}; {secrets} secrets were sealed anew"))?;
    match put_in_place(&path) {
        Ok(kept) => {
            print(&format!(
                "{} holds it now, and {} the old one: backups made before need it",
                path.display(),
                kept.display()
            ))?;
            print(
                "on other hosts do the same: keep the old file elsewhere, then rename the one that ends in .next",
            )?;
        }
        Err(error) => print(&format!(
            "the files could not be renamed ({error}): keep {} for backups made before, and put {} in its place",
            path.display(),
            next_path(&path).display()
        ))?,
    }
    Ok(0)
}

/// The next key. Of a rotation that has ended, with only the files still to be renamed, it is the database's.
async fn next_key(store: &dyn Store, path: &Path) -> Result<MasterKey, OpsError> {
    let next = next_path(path);
    match MasterKey::read(&next) {
        Err(VaultError::Missing { path }) => {
            if let Some(begun) = store.installation_value(NEXT_KEY_CHECK, None).await? {
                return Err(VaultError::NextMissing { path, key_id: key_id(&begun) }.into());
            }
            MasterKey::create(&next)?;
            let key = MasterKey::read(&next)?;
            print(&format!("made the key with the id {} in {path}", key.id()))?;
            Ok(key)
        }
        read => Ok(read?),
    }
}

/// The old key goes under its id, the next one takes its place. The key's file is never missing in between.
fn put_in_place(path: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let mut kept = path.as_os_str().to_owned();
    kept.push(format!(".{}", MasterKey::read(path)?.id()));
    let kept = PathBuf::from(kept);
    match std::fs::hard_link(path, &kept) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    std::fs::rename(next_path(path), path)?;
    Ok(kept)
}
