//! Proves the log: positions without a gap, versions in order, every hash the one that follows from the one before.

use std::collections::HashMap;

use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    try_join,
};

use crate::{
    beside::beside,
    envelope::{Hash, StoredEvent},
    store::{Head, Store, StoreError},
};

/// Events per read.
const PAGE: u32 = 1_000;
/// Pages that each of the two readers has read ahead.
const AHEAD: usize = 1;

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
    versions: HashMap<Vec<u8>, i64>,
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
    pub fn take(&mut self, event: &StoredEvent) -> Result<(), Verdict> {
        let position = self.last.position + 1;
        let broken = |why: String| Err(Verdict::Broken { position, why });
        if u64::try_from(event.position) != Ok(position) {
            return broken(format!("the position is missing; the next event is at {}", event.position));
        }
        let is_due = if let Some(last) = self.versions.get_mut(&event.stream_id[..]) {
            *last = last.saturating_add(1);
            event.stream_version == *last
        } else {
            self.versions.insert(event.stream_id.to_vec(), event.stream_version);
            self.is_partial || event.stream_version == 1
        };
        if !is_due {
            let (version, stream) = (event.stream_version, event.stream());
            return broken(format!("version {version} of {stream} is not the one that is due"));
        }
        let due = event.hash_after(self.last.hash);
        if event.hash() != Some(due) {
            return broken("the hash is not that of this event after the one before".to_owned());
        }
        if self.checkpoint.is_some_and(|end| end.position == position && end.hash != due) {
            return broken("the hash is not that of the checkpoint".to_owned());
        }
        self.last = Head { position, hash: due };
        self.events += 1;
        Ok(())
    }

    /// Takes one event after the other until one is wrong, or contradicts the head of the log.
    fn take_all(&mut self, page: &[StoredEvent], head: Head) -> Result<(), Verdict> {
        for event in page {
            self.take(event)?;
            if self.last.position == head.position && self.last.hash != head.hash {
                let why = "the hash is not that of the head of the log".to_owned();
                return Err(Verdict::Broken { position: head.position, why });
            }
        }
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
        let page = store.stored_page(before - 1, 1).await?;
        let found = page.first().filter(|event| u64::try_from(event.position) == Ok(before));
        let Some(hash) = found.and_then(StoredEvent::hash) else {
            let why = "the event is missing, so nothing after it can be proved".to_owned();
            return Ok(Verdict::Broken { position: before, why });
        };
        trusted = Head { position: before, hash };
    }
    // A checkpoint of a part that is not read says nothing.
    let checkpoint = range
        .checkpoint
        .filter(|end| end.position > trusted.position && range.to.is_none_or(|to| end.position <= to));
    let to = range.to.unwrap_or(u64::MAX);
    let (even, odd) = (channel(AHEAD), channel(AHEAD));
    let second = trusted.position.saturating_add(PAGE.into());
    // While the processor is at work on a page, the database is at the next ones.
    let reading = async {
        try_join!(read(store, (trusted.position, to), even.0), read(store, (second, to), odd.0)).map(|_| ())
    };
    let proving = prove((Proof::after(trusted, checkpoint), head), [even.1, odd.1], &mut progress);
    let ((), proved) = try_join!(reading, proving)?;
    let proof = match proved {
        Ok(proof) => proof,
        Err(broken) => return Ok(broken),
    };
    let last = proof.last().position;
    // Whatever was appended meanwhile, the head was moved along with it.
    let now = if last > head.position { store.head().await? } else { head };
    if last > now.position {
        let why = format!("the head of the log is at {}, before this event", now.position);
        return Ok(Verdict::Broken { position: now.position + 1, why });
    }
    let end = range.to.map_or(head, |to| Head { position: to.min(head.position), ..head });
    Ok(proof.end(Some(end)))
}

/// Whether the log ended with this page when it was read.
fn is_last(page: &[StoredEvent]) -> bool {
    u32::try_from(page.len()).is_ok_and(|events| events < PAGE)
}

/// Reads every other page from a position on. In an intact log no position is missing, so it is known where each begins;
/// in another one the proof does not come past the first that is.
async fn read(
    store: &dyn Store,
    (mut after, to): (u64, u64),
    pages: Sender<Vec<StoredEvent>>,
) -> Result<(), StoreError> {
    while after < to {
        let most = u32::try_from(to - after).map_or(PAGE, |left| left.min(PAGE));
        let page = store.stored_page(after, most).await?;
        let is_last = is_last(&page);
        // Nobody takes it once something was found wrong.
        if pages.send(page).await.is_err() || is_last {
            break;
        }
        after = after.saturating_add(2 * u64::from(PAGE));
    }
    Ok(())
}

/// Takes a page of each in turn, up to the last.
async fn prove(
    (mut proof, head): (Proof, Head),
    mut pages: [Receiver<Vec<StoredEvent>>; 2],
    progress: &mut (impl FnMut(u64) + Send),
) -> Result<Result<Proof, Verdict>, StoreError> {
    while let Some(page) = pages[0].recv().await {
        pages.swap(0, 1);
        let is_last = is_last(&page);
        let taking = beside(move || proof.take_all(&page, head).map(|()| proof));
        proof = match taking.await? {
            Ok(proof) => proof,
            Err(broken) => return Ok(Err(broken)),
        };
        progress(proof.last().position);
        if is_last {
            break;
        }
    }
    Ok(Ok(proof))
}
