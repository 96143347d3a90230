//! The state of each stream, event by event, and the rows that follow from it.

use std::collections::{HashMap, HashSet, VecDeque, hash_map::Entry};

use crate::{
    domain::{
        gateway::{self, Gateway, Occurrence},
        organization::{self, Organization},
        queue,
    },
    envelope::{Recorded, StreamId},
    ids::OrganizationId,
    store::{StoreError, plan::last_of_each},
    view::{Row, gateway_rows, operation_row, organization_rows, queue_rows},
};

/// Streams whose state is kept in memory, twice; others are read again when they are met.
const STATES_MAX: usize = 2_048;
/// Rows beside those of the states that are kept back: one that changes again until then is written once.
const ROWS_MAX: usize = 2_000;
/// Events after which everything is written, so that what is stopped has not much to do again.
const EVENTS_MAX: usize = 20_000;

/// Which streams' states are in memory once what was read has been folded: known while it still is to be.
#[derive(Debug, Default)]
pub(super) struct Known {
    young: HashSet<StreamId>,
    old: HashSet<StreamId>,
}

impl Known {
    /// Streams of a page whose state before it is not known, and before which position that is. It is from now on.
    pub(super) fn unknown(&mut self, page: &[Recorded]) -> Vec<(StreamId, u64)> {
        let mut unknown = vec![];
        for event in page {
            if self.young.contains(&event.stream) {
                continue;
            }
            self.young.insert(event.stream.clone());
            if !self.old.remove(&event.stream) && event.version > 1 {
                unknown.push((event.stream.clone(), event.position));
            }
        }
        unknown
    }

    /// Keeps the memory bounded: what was not met for a while is read again. Whether the folder is to do the same now.
    pub(super) fn age(&mut self) -> bool {
        let is_time = self.young.len() > STATES_MAX;
        if is_time {
            self.old = std::mem::take(&mut self.young);
        }
        is_time
    }
}

/// Folds events one after the other, in the order of the log or of a stream.
#[derive(Debug, Default)]
pub struct Folder {
    young: HashMap<StreamId, Kept>,
    old: HashMap<StreamId, Kept>,
    /// Rows that no state tells any more.
    rows: VecDeque<Row>,
    /// Streams whose state has changed since its rows were made.
    touched: VecDeque<StreamId>,
    events: usize,
}

/// A state, and whether its rows are to be made.
#[derive(Debug)]
struct Kept {
    state: State,
    is_touched: bool,
}

/// A stream's state.
#[derive(Debug, Default)]
enum State {
    Gateway(Gateway),
    Organization(Option<OrganizationId>, Organization),
    Queue,
    /// Also what stands in for a state while its event is folded.
    #[default]
    Other,
}

impl Folder {
    /// The rows that an event leaves, the state before it being known.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreadable`] for an event that this program does not know.
    pub fn fold(&mut self, event: &Recorded) -> Result<Vec<Row>, StoreError> {
        self.take(&[], std::slice::from_ref(event))?;
        self.rows(usize::MAX)
    }

    /// Takes the histories of the streams that were not known, and a page of the log.
    pub(super) fn take(&mut self, histories: &[Recorded], page: &[Recorded]) -> Result<(), StoreError> {
        for event in histories {
            self.kept(event).step(event)?;
        }
        for event in page {
            let kept = self.kept(event);
            let rows = kept.step(event)?;
            if !std::mem::replace(&mut kept.is_touched, true) {
                self.touched.push_back(event.stream.clone());
            }
            self.rows.extend(rows);
        }
        self.events += page.len();
        Ok(())
    }

    /// Whether rows are to be made before more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_MAX || self.events >= EVENTS_MAX
    }

    /// Whether all rows were made.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.touched.is_empty()
    }

    /// Makes rows of what was taken, about so many, each id once; all together, in their order, are what it leaves.
    pub(super) fn rows(&mut self, most: usize) -> Result<Vec<Row>, StoreError> {
        let mut rows: Vec<Row> = self.rows.drain(..most.min(self.rows.len())).collect();
        while rows.len() < most
            && let Some(stream) = self.touched.pop_front()
        {
            let Some(kept) = self.young.get_mut(&stream) else { continue };
            kept.is_touched = false;
            let value = || stream.to_string();
            rows.extend(
                kept.state.rows().map_err(|_| StoreError::Unreadable { what: "state of", value: value() })?,
            );
        }
        if self.is_empty() {
            self.events = 0;
        }
        Ok(last_of_each(rows))
    }

    /// Forgets what [`Known::age`] does not know any more, once all rows were made.
    pub(super) fn age(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }

    fn kept(&mut self, event: &Recorded) -> &mut Kept {
        match self.young.entry(event.stream.clone()) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(place) => {
                let new = || Kept { state: State::new(event), is_touched: false };
                place.insert(self.old.remove(&event.stream).unwrap_or_else(new))
            }
        }
    }
}

fn unreadable(event: &Recorded) -> StoreError {
    StoreError::Unreadable { what: "event", value: event.event_type.clone() }
}

impl Kept {
    /// The rows that no later state tells, unless they were made already.
    fn step(&mut self, event: &Recorded) -> Result<Vec<Row>, StoreError> {
        let state = std::mem::take(&mut self.state);
        let (after, rows) = state.step(event, self.is_touched).map_err(|_| unreadable(event))?;
        self.state = after;
        Ok(rows)
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

    /// The state after an event, and the rows that no later state tells.
    ///
    /// These are those of the event itself, and that of a gateway's operation that had just ended, or that another one
    /// follows, if it is to be made yet.
    fn step(self, recorded: &Recorded, is_touched: bool) -> Result<(Self, Vec<Row>), serde_json::Error> {
        match self {
            Self::Gateway(before) => {
                let event: gateway::Event = recorded.event()?;
                let begins = event.begins().is_some();
                let is_last_of_operation = is_touched && (begins || before.has_just_ended());
                let ended = if is_last_of_operation { operation_row(&before)? } else { None };
                let occurrence = Occurrence {
                    at: recorded.recorded_at,
                    version: recorded.version,
                    // Only an operation keeps it.
                    request_id: if begins { recorded.request_id()? } else { None },
                };
                Ok((Self::Gateway(before.evolve(&event, &occurrence)), ended.into_iter().collect()))
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

    /// The rows that follow from the state alone.
    fn rows(&self) -> Result<Vec<Row>, serde_json::Error> {
        match self {
            Self::Gateway(gateway) => gateway_rows(gateway),
            Self::Organization(..) | Self::Queue | Self::Other => Ok(vec![]),
        }
    }
}
