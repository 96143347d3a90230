//! Proves the log: positions without a gap, versions in order, every hash the one that follows from the one before.

use std::collections::HashMap;

use crate::{
    envelope::{Hash, StreamId},
    store::{Store, StoreError},
};

/// Events per read.
const PAGE: u32 = 1_000;

/// What the proof found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it was written.
    Intact {
        /// How many events there are.
        events: u64,
        /// The last one's hash.
        head: Hash,
    },
    /// Something is not.
    Broken {
        /// The first bad position.
        position: u64,
        /// What is wrong there.
        why: String,
    },
}

/// Reads the whole log and proves it against itself and `log_head`.
///
/// # Errors
///
/// [`StoreError`] if the log cannot be read: nothing is proved then.
pub async fn verify(store: &dyn Store) -> Result<Verdict, StoreError> {
    let mut position = 0;
    let mut hash = Hash::default();
    let mut versions: HashMap<StreamId, u64> = HashMap::new();
    // Read first: what is appended while we read is beyond it.
    let head = store.head().await?;
    loop {
        let page = store.log_page(position, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for event in page {
            let expected = position + 1;
            let broken = |why: String| Ok(Verdict::Broken { position: expected, why });
            if event.position != expected {
                return broken(format!("the position is missing; the next event is at {}", event.position));
            }
            let version = versions.entry(event.stream.clone()).or_default();
            *version += 1;
            if event.version != *version {
                return broken(format!(
                    "version {} of {} where {version} is due",
                    event.version, event.stream
                ));
            }
            if event.hash != event.hash_after(hash) {
                return broken("the hash is not that of this event after the one before".to_owned());
            }
            if expected == head.position && event.hash != head.hash {
                return broken("the hash is not that of the head of the log".to_owned());
            }
            position = expected;
            hash = event.hash;
        }
    }
    if position < head.position {
        let why = format!("the event is missing; the head of the log is at {}", head.position);
        return Ok(Verdict::Broken { position: position + 1, why });
    }
    Ok(Verdict::Intact { events: position, head: hash })
}
