//! Fills the read models' shadows from the log, with the functions that fill the read models, and swaps them in.
//!
//! Commits and reads go on meanwhile. How far the shadow is filled is stored with it, so a rebuild that was stopped goes
//! on where it was.

mod folder;
mod pace;
mod stages;

pub use folder::Folder;
use folder::Known;

use async_trait::async_trait;

use crate::{
    clock::{Clock as _, SystemClock},
    envelope::{Recorded, StreamId},
    ids::RebuildId,
    store::{CatchUp, Difference, Finished, Pace, Store, StoreError, Swap},
    view::Row,
};

/// Events per read of a stream that was met again, and of what was recorded meanwhile.
const PAGE: u32 = 1_000;

/// Why a rebuild was not finished.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another process has begun to do the same, and goes on with it.
    #[error(
        "another process has begun to rebuild the read models of this database, and goes on where this one was"
    )]
    Another,
    /// The store failed, or holds an event that this program does not know.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The states of streams that are kept in memory.
#[derive(Debug, Default)]
struct States {
    folder: Folder,
    known: Known,
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
    let run = RebuildId::mint(SystemClock.now());
    let mut done = store.shadow_begin(run).await?;
    let (mut states, mut behind) = (States::default(), u64::MAX);
    loop {
        let head = store.head().await?.position;
        // Where commits follow each other nearly as fast as a steady rebuild goes, it is to end nevertheless.
        if head.saturating_sub(done) > behind / 2 {
            pace = Pace::Fast;
        }
        behind = head.saturating_sub(done);
        stages::fill(store, (&mut states, pace), (run, done, head), &mut progress).await?;
        let mut rest = Rest { store, states: &mut states, done: done.max(head) };
        let finished = store.shadow_finish(run, rest.done, (swap, pace), &mut rest).await?;
        // How far the shadow was filled by that.
        done = rest.done;
        match finished {
            Finished::Compared(differences) => return Ok(differences),
            Finished::Gone => return Err(RebuildError::Another),
            Finished::Behind => {}
        }
    }
}

/// What was recorded after a position.
struct Rest<'a> {
    store: &'a dyn Store,
    states: &'a mut States,
    done: u64,
}

#[async_trait]
impl CatchUp for Rest<'_> {
    async fn rows(&mut self, to: u64) -> Result<Vec<Row>, StoreError> {
        while self.done < to {
            let mut page = self.store.log_page(self.done, PAGE).await?;
            page.retain(|event| event.position <= to);
            let Some(last) = page.last() else { break };
            self.done = last.position;
            let mut histories = vec![];
            for (stream, before) in self.states.known.unknown(&page) {
                histories.extend(history(self.store, &stream, before).await?);
            }
            self.states.folder.take(&histories, &page)?;
        }
        self.states.folder.rows(usize::MAX)
    }
}

/// What a stream had before a position.
async fn history(store: &dyn Store, stream: &StreamId, before: u64) -> Result<Vec<Recorded>, StoreError> {
    let mut history = vec![];
    let mut after = 0;
    loop {
        let page = store.stream_page(stream, after, PAGE).await?;
        let Some(last) = page.last().map(|last| last.position) else { return Ok(history) };
        history.extend(page.into_iter().take_while(|event| event.position < before));
        if last >= before {
            return Ok(history);
        }
        after = last;
    }
}
