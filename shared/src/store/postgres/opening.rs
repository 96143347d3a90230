//! The way to the first connection, and what runs beside the callers from then on.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::{sync::watch, task::AbortHandle, time::sleep};

use super::{
    connections::{Connector, Lines},
    listen, migrate,
};
use crate::{
    chain::chain,
    store::{StoreError, writer::Signals},
};

/// Longest pause between two tries, which jitter can double: a process is ready 5 s after its database.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
enum State {
    Trying,
    Failed(Arc<StoreError>),
    Done,
}

/// How far the first connection has come.
#[derive(Clone)]
pub(super) struct Opening(watch::Receiver<State>);

impl Opening {
    /// Waits until the first try to open the database has ended, and tells how the last one did.
    pub(super) async fn first_try(&self) -> Result<(), StoreError> {
        let mut states = self.0.clone();
        let ended = states.wait_for(|state| !matches!(state, State::Trying)).await.map(|state| state.clone());
        match ended {
            Ok(State::Done) => Ok(()),
            Ok(State::Failed(source)) => Err(StoreError::NotOpen { source }),
            Ok(State::Trying) | Err(_) => Err(StoreError::Closed),
        }
    }
}

/// What runs beside the callers: the opening, then the news of other processes.
pub(super) struct Background {
    pub(super) connector: Connector,
    pub(super) reads: Arc<Lines>,
    pub(super) signals: Arc<Signals>,
    pub(super) origin: String,
}

impl Background {
    /// Begins. It ends only when it is told to.
    pub(super) fn start(self) -> (Opening, AbortHandle) {
        let (state, states) = watch::channel(State::Trying);
        (Opening(states), tokio::spawn(self.run(state)).abort_handle())
    }

    async fn run(self, state: watch::Sender<State>) {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(PAUSE_MAX)
            .without_max_times()
            .with_jitter()
            .build();
        let head = loop {
            match migrate::run(&self.connector).await {
                Ok(head) => break head,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the database could not be opened; trying again");
                    state.send_replace(State::Failed(Arc::new(error)));
                    sleep(pauses.next().unwrap_or(PAUSE_MAX)).await;
                }
            }
        };
        self.signals.reaches(head.position);
        state.send_replace(State::Done);
        tokio::join!(
            listen::listen(self.connector, Arc::clone(&self.signals), self.origin),
            listen::look_again(self.reads, self.signals),
        );
    }
}
