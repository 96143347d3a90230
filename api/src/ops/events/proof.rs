//! `events verify`: the log, a part of it, or an exported file.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use serde_json::json;
use shared::{
    checkpoint::{Kept, latest},
    store::{Head, Store},
    verify::{Proof, Range, Verdict, verify_range},
};

use super::{Verify, export};
use crate::ops::{
    OpsError,
    output::{Output, Progress},
};

/// Proves the log in the database: exit 0 intact, 1 broken.
///
/// # Errors
///
/// [`OpsError`] if the log or the checkpoint cannot be read: nothing is proved then.
pub async fn run(store: &dyn Store, verify: &Verify) -> Result<u8, OpsError> {
    let checkpoint = match &verify.checkpoint {
        Some(path) => Some(within(verify, path, checkpoint(path)?)?),
        None => match stored(store).await? {
            Ok(stored) => stored,
            Err(broken) => return tell(&broken, verify.json),
        },
    };
    let head = store.head().await?.position;
    let mut progress = Progress::new("verified", verify.from, verify.to.unwrap_or(head));
    let range = Range { from: verify.from, to: verify.to, checkpoint };
    let verdict = verify_range(store, range, |position| progress.reach(position)).await?;
    drop(progress);
    tell(&verdict, verify.json)
}

/// Proves an exported file: exit 0 intact, 1 broken.
///
/// # Errors
///
/// [`OpsError`] if a file cannot be read.
pub fn run_offline(verify: &Verify) -> Result<u8, OpsError> {
    let checkpoint = verify.checkpoint.as_deref().map(checkpoint).transpose()?;
    let Some(path) = &verify.offline else { return Ok(2) };
    let file = File::open(path).map_err(|error| unusable(path, &error.to_string()))?;
    let lines = BufReader::new(file).split(b'\n');
    let mut proof = Proof::after(Head::default(), checkpoint);
    for line in lines {
        let line = line.map_err(|error| unusable(path, &error.to_string()))?;
        let position = proof.last().position + 1;
        let text = std::str::from_utf8(&line).ok();
        let Some(event) = text.and_then(export::read) else {
            let why = "the line is not an event as it is exported".to_owned();
            return tell(&Verdict::Broken { position, why }, verify.json);
        };
        if let Err(broken) = proof.take(&event) {
            return tell(&broken, verify.json);
        }
    }
    tell(&proof.end(None), verify.json)
}

/// A checkpoint proves nothing of a part that does not reach it, and whoever gives one counts on it.
fn within(verify: &Verify, path: &Path, end: Head) -> Result<Head, OpsError> {
    let is_within = end.position >= verify.from && verify.to.is_none_or(|to| end.position <= to);
    let why = || format!("it is of position {}, which is not in the part that is to be proved", end.position);
    is_within.then_some(end).ok_or_else(|| unusable(path, &why()))
}

/// The latest checkpoint in the database.
async fn stored(store: &dyn Store) -> Result<Result<Option<Head>, Verdict>, OpsError> {
    let Some(latest) = latest(store).await? else { return Ok(Ok(None)) };
    let position = latest.position;
    let why = || "the checkpoint in the database is not signed by the key in it".to_owned();
    let proved = Kept::from(&latest).proves();
    Ok(proved.map(Some).ok_or_else(|| Verdict::Broken { position, why: why() }))
}

fn checkpoint(path: &Path) -> Result<Head, OpsError> {
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, &error.to_string()))?;
    let kept: Kept = serde_json::from_str(&text).map_err(|error| unusable(path, &error.to_string()))?;
    kept.proves().ok_or_else(|| unusable(path, "the signature is not that of the key in it"))
}

fn unusable(path: &Path, why: &str) -> OpsError {
    OpsError::Setting(format!("{}: {why}", path.display()))
}

fn tell(verdict: &Verdict, is_json: bool) -> Result<u8, OpsError> {
    let output = Output::of(is_json);
    match verdict {
        Verdict::Intact { events, head } => {
            let json = json!({"verdict": "intact", "events": events, "head": head.to_string()});
            output.row(&json, &format!("intact: {events} events, head {head}"))?;
            Ok(0)
        }
        Verdict::Broken { position, why } => {
            let json = json!({"verdict": "broken", "position": position, "why": why});
            output.row(&json, &format!("broken at position {position}: {why}"))?;
            Ok(1)
        }
    }
}
