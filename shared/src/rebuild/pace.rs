//! How much of the machine a rebuild takes.

use std::time::Instant;

use tokio::sync::Mutex;

use crate::store::{Pace, Pauses};

/// Keeps a pace.
pub(super) struct Pacer {
    pace: Pace,
    turn: Mutex<Pauses>,
}

impl Pacer {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, turn: Mutex::new(Pauses::new(pace)) }
    }

    /// Events per read, and rows per write, about.
    pub(super) fn most(&self) -> u16 {
        match self.pace {
            Pace::Steady => 8,
            Pace::Fast => 1_000,
        }
    }

    /// Does a bit of the work: when nothing else of it is being done, and with a pause, if it is to be steady.
    pub(super) async fn bit<T>(&self, work: impl Future<Output = T>) -> T {
        if self.pace == Pace::Fast {
            return work.await;
        }
        let mut turn = self.turn.lock().await;
        let began = Instant::now();
        let done = work.await;
        turn.after(began.elapsed()).await;
        done
    }
}
