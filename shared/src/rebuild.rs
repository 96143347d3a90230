//! Fills the read models' shadows from the log, with the functions that fill the read models, and swaps them in.
//!
//! Commits and reads go on meanwhile. How far the shadow is filled is stored with it, so a rebuild that was stopped goes
//! on where it was.

mod folder;

pub use folder::Folder;

use std::time::Instant;

use async_trait::async_trait;
use tokio::time::sleep;

use crate::{
    beside::beside,
    envelope::{Recorded, StreamId},
    store::{CatchUp, Difference, Finished, Store, StoreError, Swap, plan::last_of_each},
    view::Row,
};

/// Events per step.
const PAGE: u32 = 2_000;
/// Events per step of a steady rebuild: some hundreds of microseconds of work.
const BIT: u32 = 16;
/// Events per read of a stream that was met again.
const STREAM_PAGE: u32 = 1_000;

/// How much of the machine a rebuild takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// One thing after the other, in bits, with a pause after each that is as long as the bit took. For a database server:
    /// whoever waits for a processor that it uses waits for a bit of this, and not for a time slice.
    Steady,
    /// A page is read while the one before is folded and the rows of the one before that are written.
    Fast,
}

impl Pace {
    fn page(self) -> u32 {
        match self {
            Self::Steady => BIT,
            Self::Fast => PAGE,
        }
    }
}

/// Why a rebuild was not finished.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another process does the same.
    #[error("another process rebuilds the read models of this database")]
    Another,
    /// The store failed, or holds an event that this program does not know.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rows that bring the shadow from one position to another.
struct Step {
    rows: Vec<Row>,
    from: u64,
    to: u64,
}

/// Fills the shadows up to the end of the log, compares them with the read models, and lets them take their place if
/// they are to. `progress` is told each position that was reached.
///
/// # Errors
///
/// [`RebuildError`]; what was done until then stays, and the next rebuild goes on from there.
pub async fn rebuild(
    store: &dyn Store,
    (swap, mut pace): (Swap, Pace),
    mut progress: impl FnMut(u64) + Send,
) -> Result<Vec<Difference>, RebuildError> {
    let mut done = store.shadow_begin().await?;
    let mut folder = Folder::default();
    let mut events = store.log_page(done, pace.page()).await?;
    let mut step: Option<Step> = None;
    loop {
        let Some(last) = events.last().map(|last| last.position) else {
            fill(store, step.take(), &mut progress).await?;
            let mut rest = Rest { store, folder: &mut folder, done };
            let finished = store.shadow_finish(done, swap, &mut rest).await?;
            // How far the shadow was filled by that.
            done = rest.done;
            match finished {
                Finished::Compared(differences) => return Ok(differences),
                Finished::Gone => return Err(RebuildError::Another),
                Finished::Behind(_) => {
                    // Commits follow each other faster than a steady rebuild: it is to end nevertheless.
                    pace = Pace::Fast;
                    events = store.log_page(done, pace.page()).await?;
                }
            }
            continue;
        };
        let began = Instant::now();
        let histories = histories(store, &folder, &events).await?;
        let folding = beside(move || {
            let rows = folder.fold_page(&histories, &events);
            (folder, rows.map(last_of_each))
        });
        let reading = store.log_page(last, pace.page());
        let filling = fill(store, step.take(), &mut progress);
        let (next, folding, filled) = match pace {
            Pace::Fast => tokio::join!(reading, folding, filling),
            Pace::Steady => {
                let filled = filling.await;
                let folding = folding.await;
                sleep(began.elapsed()).await;
                (reading.await, folding, filled)
            }
        };
        filled?;
        let (kept, rows) = folding?;
        folder = kept;
        step = Some(Step { rows: rows?, from: done, to: last });
        done = last;
        events = next?;
    }
}

/// What was recorded after a position.
struct Rest<'a> {
    store: &'a dyn Store,
    folder: &'a mut Folder,
    done: u64,
}

#[async_trait]
impl CatchUp for Rest<'_> {
    async fn rows(&mut self, to: u64) -> Result<Vec<Row>, StoreError> {
        let mut rows = vec![];
        while self.done < to {
            let mut page = self.store.log_page(self.done, PAGE).await?;
            page.retain(|event| event.position <= to);
            let Some(last) = page.last() else { break };
            self.done = last.position;
            let histories = histories(self.store, self.folder, &page).await?;
            rows.extend(self.folder.fold_page(&histories, &page)?);
        }
        Ok(last_of_each(rows))
    }
}

async fn fill(
    store: &dyn Store,
    step: Option<Step>,
    progress: &mut (impl FnMut(u64) + Send),
) -> Result<(), RebuildError> {
    let Some(Step { rows, from, to }) = step else { return Ok(()) };
    if !store.shadow_fill(rows, from, to).await? {
        return Err(RebuildError::Another);
    }
    progress(to);
    Ok(())
}

/// What the streams of a page had before it, where the folder does not know their state.
async fn histories(
    store: &dyn Store,
    folder: &Folder,
    page: &[Recorded],
) -> Result<Vec<Recorded>, StoreError> {
    let mut histories = vec![];
    for (stream, before) in folder.unknown(page) {
        histories.extend(history(store, &stream, before).await?);
    }
    Ok(histories)
}

async fn history(store: &dyn Store, stream: &StreamId, before: u64) -> Result<Vec<Recorded>, StoreError> {
    let mut history = vec![];
    let mut after = 0;
    loop {
        let page = store.stream_page(stream, after, STREAM_PAGE).await?;
        let Some(last) = page.last().map(|last| last.position) else { return Ok(history) };
        history.extend(page.into_iter().take_while(|event| event.position < before));
        if last >= before {
            return Ok(history);
        }
        after = last;
    }
}
