//! Proves the log: positions without a gap, versions in order, every hash the one that follows from the one before.

use std::collections::HashMap;

use crate::{
    envelope::{Hash, Recorded, StreamId},
    store::{Head, Store, StoreError},
};

/// Events per read.
const PAGE: u32 = 1_000;

/// What the proof found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it was written.
    Intact {
        /// How many events were proved.
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

/// What to prove.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// From this position on; 0 and 1 are the beginning. The event before is trusted.
    pub from: u64,
    /// Up to this position; `None` is the end of the log.
    pub to: Option<u64>,
    /// An end that the log once had, from a checkpoint.
    pub checkpoint: Option<Head>,
}

/// A proof that goes from event to event.
#[derive(Debug, Default)]
pub struct Proof {
    last: Head,
    events: u64,
    versions: HashMap<StreamId, u64>,
    is_partial: bool,
    checkpoint: Option<Head>,
}

impl Proof {
    /// Of a whole log, or of what follows a trusted event.
    #[must_use]
    pub fn after(trusted: Head, checkpoint: Option<Head>) -> Self {
        Self { last: trusted, is_partial: trusted.position > 0, checkpoint, ..Self::default() }
    }

    /// Takes the next event; `Err` is what is wrong with it.
    ///
    /// # Errors
    ///
    /// [`Verdict::Broken`].
    pub fn take(&mut self, event: &Recorded) -> Result<(), Verdict> {
        let position = self.last.position + 1;
        let broken = |why: String| Err(Verdict::Broken { position, why });
        if event.position != position {
            return broken(format!("the position is missing; the next event is at {}", event.position));
        }
        let first = if self.is_partial { event.version } else { 1 };
        let due = self.versions.get(&event.stream).map_or(first, |last| last + 1);
        if event.version != due {
            return broken(format!("version {} of {} where {due} is due", event.version, event.stream));
        }
        self.versions.insert(event.stream.clone(), due);
        if event.hash != event.hash_after(self.last.hash) {
            return broken("the hash is not that of this event after the one before".to_owned());
        }
        if self.checkpoint.is_some_and(|end| end.position == position && end.hash != event.hash) {
            return broken("the hash is not that of the checkpoint".to_owned());
        }
        self.last = Head { position, hash: event.hash };
        self.events += 1;
        Ok(())
    }

    /// The last event that was taken.
    #[must_use]
    pub fn last(&self) -> Head {
        self.last
    }

    /// Ends the proof of a log that must reach as far as this.
    #[must_use]
    pub fn end(self, reaches: Option<Head>) -> Verdict {
        let Self { last, events, checkpoint, .. } = self;
        for (end, what) in [(reaches, "the head of the log"), (checkpoint, "the checkpoint")] {
            if let Some(end) = end.filter(|end| end.position > last.position) {
                let why = format!("the event is missing; {what} is at {}", end.position);
                return Verdict::Broken { position: last.position + 1, why };
            }
        }
        Verdict::Intact { events, head: last.hash }
    }
}

/// Reads the whole log and proves it against itself and `log_head`.
///
/// # Errors
///
/// [`StoreError`] if the log cannot be read: nothing is proved then.
pub async fn verify(store: &dyn Store) -> Result<Verdict, StoreError> {
    verify_range(store, Range::default(), |_| {}).await
}

/// Reads a part of the log and proves it. `progress` is told each position that was reached.
///
/// # Errors
///
/// [`StoreError`] if the log cannot be read: nothing is proved then.
pub async fn verify_range(
    store: &dyn Store,
    range: Range,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Verdict, StoreError> {
    // Read first: what is appended while we read is beyond it.
    let head = store.head().await?;
    let mut trusted = Head::default();
    if let Some(before) = range.from.checked_sub(1).filter(|before| *before > 0) {
        let page = store.log_page(before - 1, 1).await?;
        let Some(event) = page.first().filter(|event| event.position == before) else {
            let why = "the event is missing, so nothing after it can be proved".to_owned();
            return Ok(Verdict::Broken { position: before, why });
        };
        trusted = Head { position: before, hash: event.hash };
    }
    // A checkpoint of a part that is not read says nothing.
    let checkpoint = range
        .checkpoint
        .filter(|end| end.position > trusted.position && range.to.is_none_or(|to| end.position <= to));
    let mut proof = Proof::after(trusted, checkpoint);
    loop {
        let page = store.log_page(proof.last().position, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for event in &page {
            if range.to.is_some_and(|to| event.position > to) {
                return Ok(proof.end(None));
            }
            if let Err(broken) = proof.take(event) {
                return Ok(broken);
            }
            if event.position == head.position && event.hash != head.hash {
                let why = "the hash is not that of the head of the log".to_owned();
                return Ok(Verdict::Broken { position: event.position, why });
            }
        }
        progress(proof.last().position);
    }
    let end = range.to.map_or(head, |to| Head { position: to.min(head.position), ..head });
    Ok(proof.end(Some(end)))
}
