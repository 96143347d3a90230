//! The state of each stream, event by event, and the rows that follow from it.

use std::collections::{HashMap, HashSet};

use crate::{
    domain::{
        gateway::{self, Gateway, Occurrence},
        organization::{self, Organization},
        queue,
    },
    envelope::{Recorded, StreamId},
    ids::OrganizationId,
    store::StoreError,
    view::{Row, gateway_rows, organization_rows, queue_rows},
};

/// Streams whose state is kept in memory, twice; others are read again when they are met.
const STATES_MAX: usize = 4_096;

/// Folds events one after the other, in the order of the log or of a stream.
#[derive(Debug, Default)]
pub struct Folder {
    young: HashMap<StreamId, State>,
    old: HashMap<StreamId, State>,
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
        let (state, mut rows) = self.step(event, true)?;
        rows.extend(state.rows().map_err(|_| unreadable(event))?);
        Ok(rows)
    }

    /// The rows that a page of the log leaves, after the histories of the streams that were not known.
    ///
    /// Of a gateway only those that no later event of the page replaces.
    pub(super) fn fold_page(
        &mut self,
        histories: &[Recorded],
        page: &[Recorded],
    ) -> Result<Vec<Row>, StoreError> {
        for event in histories {
            self.step(event, false)?;
        }
        let mut rows = vec![];
        let mut touched = HashSet::new();
        for event in page {
            let is_touched = !touched.insert(&event.stream);
            rows.extend(self.step(event, is_touched)?.1);
        }
        for stream in touched {
            let state = self.young.get(stream).unwrap_or(&State::Other);
            let value = || stream.to_string();
            rows.extend(
                state.rows().map_err(|_| StoreError::Unreadable { what: "state of", value: value() })?,
            );
        }
        self.age();
        Ok(rows)
    }

    /// Streams of a page whose state before it is not known, and before which position that is.
    pub(super) fn unknown(&self, page: &[Recorded]) -> Vec<(StreamId, u64)> {
        let mut met = HashSet::new();
        let is_unknown = |event: &&Recorded| {
            let is_known = self.young.contains_key(&event.stream) || self.old.contains_key(&event.stream);
            event.version > 1 && !is_known
        };
        let firsts = page.iter().filter(|event| met.insert(&event.stream));
        firsts.filter(is_unknown).map(|event| (event.stream.clone(), event.position)).collect()
    }

    fn step(&mut self, event: &Recorded, is_shown: bool) -> Result<(&State, Vec<Row>), StoreError> {
        if !self.young.contains_key(&event.stream) {
            let state = self.old.remove(&event.stream).unwrap_or_else(|| State::new(event));
            self.young.insert(event.stream.clone(), state);
        }
        let state = self.young.entry(event.stream.clone()).or_default();
        let (after, rows) = std::mem::take(state).step(event, is_shown).map_err(|_| unreadable(event))?;
        *state = after;
        Ok((state, rows))
    }

    /// Keeps the memory bounded: what was not met for a while is read again.
    fn age(&mut self) {
        if self.young.len() > STATES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

fn unreadable(event: &Recorded) -> StoreError {
    StoreError::Unreadable { what: "event", value: event.event_type.clone() }
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
    /// These are those of the event itself, and, if they are to be shown, those of a gateway's operation that has just
    /// ended, or that another one follows now.
    fn step(self, recorded: &Recorded, is_shown: bool) -> Result<(Self, Vec<Row>), serde_json::Error> {
        match self {
            Self::Gateway(gateway) => {
                let event: gateway::Event = recorded.event()?;
                let is_last_of_operation = event.begins().is_some() || gateway.has_just_ended();
                let rows = if is_shown && is_last_of_operation { gateway_rows(&gateway)? } else { vec![] };
                let occurrence = Occurrence {
                    at: recorded.recorded_at,
                    version: recorded.version,
                    request_id: recorded.request_id()?,
                };
                Ok((Self::Gateway(gateway.evolve(&event, &occurrence)), rows))
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
