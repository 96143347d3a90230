//! Fills the read models' shadows from the log, with the functions that fill the read models, and swaps them in.
//!
//! Commits and reads go on meanwhile. How far the shadow is filled is stored with it, so a rebuild that was stopped goes
//! on where it was.

use std::collections::HashMap;

use crate::{
    domain::{
        gateway::{self, Gateway, Occurrence},
        organization::{self, Organization},
        queue,
    },
    envelope::{Recorded, StreamId},
    ids::OrganizationId,
    store::{Difference, Finished, Store, StoreError, Swap, plan::last_of_each},
    view::{Row, gateway_rows, organization_rows, queue_rows},
};

/// Events per step.
const PAGE: u32 = 1_000;
/// Streams whose state is kept in memory between steps; the others are read again when they are met.
const STATES_MAX: usize = 4_096;

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

/// A stream's state.
#[derive(Debug, Clone)]
enum State {
    Gateway(Gateway),
    Organization(Option<OrganizationId>, Organization),
    Queue,
    Other,
}

/// Folds events one after the other, in the order of the log or of a stream.
#[derive(Debug, Default)]
pub struct Folder {
    states: HashMap<StreamId, State>,
}

impl Folder {
    /// The rows that an event leaves, the state before it being known.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreadable`] for an event that this program does not know.
    pub fn fold(&mut self, event: &Recorded) -> Result<Vec<Row>, StoreError> {
        let unreadable = |_| StoreError::Unreadable { what: "event", value: event.event_type.clone() };
        let state = self.states.remove(&event.stream).unwrap_or_else(|| State::new(event));
        let (state, rows) = state.step(event).map_err(unreadable)?;
        self.states.insert(event.stream.clone(), state);
        Ok(rows)
    }

    fn knows(&self, event: &Recorded) -> bool {
        event.version == 1 || self.states.contains_key(&event.stream)
    }

    /// Keeps the memory bounded: what is met again is read again.
    fn forget(&mut self) {
        if self.states.len() > STATES_MAX {
            self.states.clear();
        }
    }
}

impl State {
    fn new(event: &Recorded) -> Self {
        let name = event.stream.as_str();
        match name.split('-').next() {
            Some("gateway") => Self::Gateway(Gateway::default()),
            Some("organization" | "installation") => {
                Self::Organization(event.organization, Organization::default())
            }
            Some("queue") => Self::Queue,
            _ => Self::Other,
        }
    }

    fn step(self, recorded: &Recorded) -> Result<(Self, Vec<Row>), serde_json::Error> {
        match self {
            Self::Gateway(gateway) => {
                let event: gateway::Event = recorded.event()?;
                let occurrence = Occurrence {
                    at: recorded.recorded_at,
                    version: recorded.version,
                    request_id: recorded.parse_metadata()?.request_id,
                };
                let gateway = gateway.evolve(&event, &occurrence);
                let rows = gateway_rows(&gateway)?;
                Ok((Self::Gateway(gateway), rows))
            }
            Self::Organization(id, organization) => {
                let event: organization::Event = recorded.event()?;
                let organization = organization.evolve(&event);
                let rows = organization_rows(id, &organization, &event, recorded.recorded_at);
                Ok((Self::Organization(id, organization), rows))
            }
            Self::Queue => {
                let rows = queue_rows(&recorded.event::<queue::Event>()?, recorded.recorded_at);
                Ok((Self::Queue, rows))
            }
            Self::Other => Ok((Self::Other, vec![])),
        }
    }
}

/// Fills the shadows up to the end of the log, compares them with the read models, and lets them take their place if
/// they are to. `progress` is told each position that was reached.
///
/// # Errors
///
/// [`RebuildError`]; what was done until then stays, and the next rebuild goes on from there.
pub async fn rebuild(
    store: &dyn Store,
    swap: Swap,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Vec<Difference>, RebuildError> {
    let mut filled = store.shadow_begin().await?;
    let mut folder = Folder::default();
    loop {
        let page = store.log_page(filled, PAGE).await?;
        let Some(last) = page.last().map(|last| last.position) else {
            match store.shadow_finish(filled, swap).await? {
                Finished::Compared(differences) => return Ok(differences),
                Finished::Gone => return Err(RebuildError::Another),
                Finished::Behind(_) => continue,
            }
        };
        let mut rows = vec![];
        for event in &page {
            if !folder.knows(event) {
                catch_up(store, &mut folder, event).await?;
            }
            rows.extend(folder.fold(event)?);
        }
        if !store.shadow_fill(last_of_each(rows), filled, last).await? {
            return Err(RebuildError::Another);
        }
        filled = last;
        folder.forget();
        progress(filled);
    }
}

/// Folds what a stream had before this event.
async fn catch_up(store: &dyn Store, folder: &mut Folder, event: &Recorded) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let history = store.stream_page(&event.stream, after, PAGE).await?;
        for earlier in history.iter().take_while(|earlier| earlier.position < event.position) {
            folder.fold(earlier)?;
        }
        match history.last() {
            Some(last) if last.position < event.position => after = last.position,
            _ => return Ok(()),
        }
    }
}
