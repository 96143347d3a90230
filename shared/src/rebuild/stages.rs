//! From the log into the shadows, in four stages: events are read, then what their streams had before, where that is not
//! known any more; they are folded; and their rows are written.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    try_join,
};

use super::{
    RebuildError, States,
    folder::{Folder, Known},
    history,
    pace::Pacer,
};
use crate::{
    beside::beside,
    envelope::{Recorded, StreamId},
    ids::RebuildId,
    store::{Pace, Store, StoreError},
    view::Row,
};

/// Pages that are read ahead, and bits that are folded ahead.
const AHEAD: usize = 2;
/// Streams that are read again at once.
const HISTORIES: usize = 8;

/// A page of the log, and what its streams had before if that is not known any more.
struct Page {
    histories: Vec<Recorded>,
    events: Vec<Recorded>,
    /// States that were not met for a while are forgotten after it.
    is_turn: bool,
}

/// Some rows of what happened between two positions.
struct Bit {
    rows: Vec<Row>,
    from: u64,
    /// The same as `from` unless these are the last of them: what is stopped between them is done once more.
    to: u64,
}

/// What the stages need.
struct Stages<'a> {
    store: &'a dyn Store,
    pacer: Pacer,
    run: RebuildId,
    from: u64,
    to: u64,
}

/// Fills the shadow, which is filled up to `from`, up to `to`.
pub(super) async fn fill(
    store: &dyn Store,
    (kept, pace): (&mut States, Pace),
    (run, from, to): (RebuildId, u64, u64),
    progress: &mut (impl FnMut(u64) + Send),
) -> Result<(), RebuildError> {
    let stages = Stages { store, pacer: Pacer::new(pace), run, from, to };
    let (pages, read) = channel(AHEAD);
    let (complete, completed) = channel(AHEAD);
    let (bits, made) = channel(AHEAD);
    let completing = stages.complete(&mut kept.known, read, complete);
    let folding = stages.fold(std::mem::take(&mut kept.folder), completed, bits);
    let writing = stages.write(made, progress);
    let ((), (), after, ()) = try_join!(stages.read(pages), completing, folding, writing)?;
    kept.folder = after;
    Ok(())
}

impl Stages<'_> {
    async fn read(&self, pages: Sender<Vec<Recorded>>) -> Result<(), RebuildError> {
        // One after the other: a read that was begun and then left alone, while the page before it waits to be taken, would
        // keep its turn, or its query would be ended by the server.
        let mut after = self.from;
        while after < self.to {
            let most = u64::from(self.pacer.most()).min(self.to - after);
            let reading = self.store.log_page(after, u32::try_from(most).unwrap_or(u32::MAX));
            let page = self.pacer.bit(reading).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            if pages.send(page).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn complete(
        &self,
        known: &mut Known,
        mut pages: Receiver<Vec<Recorded>>,
        complete: Sender<Page>,
    ) -> Result<(), RebuildError> {
        while let Some(events) = pages.recv().await {
            let unknown = stream::iter(known.unknown(&events));
            let reading = unknown.map(|(stream, before)| self.history(stream, before)).buffered(HISTORIES);
            let histories = reading.try_concat().await?;
            let page = Page { histories, events, is_turn: known.age() };
            if complete.send(page).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn fold(
        &self,
        mut folder: Folder,
        mut pages: Receiver<Page>,
        bits: Sender<Bit>,
    ) -> Result<Folder, RebuildError> {
        let (mut from, mut to) = (self.from, self.from);
        while let Some(Page { histories, events, is_turn }) = pages.recv().await {
            to = events.last().map_or(to, |last| last.position);
            let folding = beside(move || folder.take(&histories, &events).map(|()| folder));
            folder = self.pacer.bit(folding).await??;
            if is_turn || folder.is_full() {
                folder = self.drain(folder, (from, to), &bits).await?;
                from = to;
            }
            if is_turn {
                folder.age();
            }
        }
        if from < to { self.drain(folder, (from, to), &bits).await } else { Ok(folder) }
    }

    async fn history(&self, stream: StreamId, before: u64) -> Result<Vec<Recorded>, StoreError> {
        self.pacer.bit(history(self.store, &stream, before)).await
    }

    async fn drain(
        &self,
        mut folder: Folder,
        (from, to): (u64, u64),
        bits: &Sender<Bit>,
    ) -> Result<Folder, RebuildError> {
        loop {
            let most = self.pacer.most().into();
            let making = beside(move || folder.rows(most).map(|rows| (folder, rows)));
            let (after, rows) = self.pacer.bit(making).await??;
            folder = after;
            let is_last = folder.is_empty();
            // Nobody takes it where the writing has failed, which is told there.
            let _ = bits.send(Bit { rows, from, to: if is_last { to } else { from } }).await;
            if is_last {
                return Ok(folder);
            }
        }
    }

    async fn write(
        &self,
        mut bits: Receiver<Bit>,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<(), RebuildError> {
        while let Some(Bit { rows, from, to }) = bits.recv().await {
            if !self.pacer.bit(self.store.shadow_fill(self.run, rows, from, to)).await? {
                return Err(RebuildError::Another);
            }
            if to > from {
                progress(to);
            }
        }
        Ok(())
    }
}
