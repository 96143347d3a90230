//! `events verify`: the log, a part of it, or an exported file.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use serde_json::json;
use shared::{
    checkpoint::Kept,
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
    let checkpoint = verify.checkpoint.as_deref().map(checkpoint).transpose()?;
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
    let lines = BufReader::new(File::open(path).map_err(|error| unusable(path, &error.to_string()))?).lines();
    let mut proof = Proof::after(Head::default(), checkpoint);
    for line in lines {
        let line = line.map_err(|error| unusable(path, &error.to_string()))?;
        let position = proof.last().position + 1;
        let Some(event) = export::read(&line) else {
            let why = "the line is not an event as it is exported".to_owned();
            return tell(&Verdict::Broken { position, why }, verify.json);
        };
        if let Err(broken) = proof.take(&event) {
            return tell(&broken, verify.json);
        }
    }
    tell(&proof.end(None), verify.json)
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
