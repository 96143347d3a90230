//! Calls that wait until a test lets them go.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

#[derive(Debug)]
struct Hold {
    method: String,
    arrived: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

/// The holds of one gateway. A guard owns its hold; here are weak ones.
#[derive(Debug, Default)]
pub(crate) struct Holds(Mutex<Vec<Weak<Hold>>>);

/// Keeps calls of one method waiting; dropping it lets them go on.
#[derive(Debug)]
pub struct HoldGuard(Arc<Hold>);

impl HoldGuard {
    /// Waits until a call of the method has arrived, also one from before.
    pub async fn arrived(&self) {
        self.arrived_times(1).await;
    }

    /// Waits until so many calls of the method have arrived.
    pub async fn arrived_times(&self, times: usize) {
        let mut arrived = self.0.arrived.subscribe();
        drop(arrived.wait_for(|seen| *seen >= times).await);
    }

    /// How many calls wait or have waited here.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.0.arrived.borrow()
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        self.0.released.send_replace(true);
    }
}

/// A wait for one held call.
pub(crate) struct Wait(watch::Receiver<bool>);

impl Wait {
    pub(crate) async fn over(mut self) {
        drop(self.0.wait_for(|released| *released).await);
    }
}

impl Holds {
    pub(crate) fn add(&self, method: &str) -> HoldGuard {
        let hold = Arc::new(Hold {
            method: method.to_owned(),
            arrived: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holds.retain(|other| other.strong_count() > 0);
        holds.push(Arc::downgrade(&hold));
        HoldGuard(hold)
    }

    /// Notes the arrival; the caller waits, if there is something to wait for.
    pub(crate) fn meet(&self, method: &str) -> Option<Wait> {
        let holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hold = holds.iter().filter_map(Weak::upgrade).find(|hold| hold.method == method)?;
        let released = hold.released.subscribe();
        hold.arrived.send_modify(|seen| *seen += 1);
        Some(Wait(released))
    }
}
