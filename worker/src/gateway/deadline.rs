//! When an attempt ends. A wait that the gateway asked for is not counted (DESIGN.md §6), so the end moves while the
//! attempt runs.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::timeout_at;

/// The end of one attempt; clones are the same end.
#[derive(Debug, Clone)]
pub struct Deadline(Arc<Mutex<Ends>>);

#[derive(Debug, Clone, Copy)]
struct Ends {
    at: Instant,
    /// For how long the gateway may still ask to wait.
    waits: Duration,
}

/// The attempt took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late;

impl Deadline {
    /// So long from now, and longer by what the gateway asks to wait, at most `waits` in all.
    #[must_use]
    pub fn after(limit: Duration, waits: Duration) -> Self {
        Self(Arc::new(Mutex::new(Ends { at: Instant::now() + limit, waits })))
    }

    /// When it is, as known now.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.ends(|ends| ends.at)
    }

    /// Grants a wait that the gateway asked for, and ends so much later. Refused, and nothing moved, if it asked for
    /// too much.
    #[must_use]
    pub fn grant(&self, wait: Duration) -> bool {
        self.ends(|ends| {
            let Some(left) = ends.waits.checked_sub(wait) else { return false };
            *ends = Ends { at: ends.at + wait, waits: left };
            true
        })
    }

    /// Ends so much later: for a wait that has nothing to do with the gateway.
    pub fn extend(&self, by: Duration) {
        self.ends(|ends| ends.at += by);
    }

    /// Runs the future until the deadline, wherever that has moved to.
    ///
    /// # Errors
    /// The future was not done by then; it is dropped.
    pub async fn bound<F: Future>(&self, future: F) -> Result<F::Output, Late> {
        let mut future = pin!(future);
        loop {
            let at = self.at();
            match timeout_at(at.into(), &mut future).await {
                Ok(output) => return Ok(output),
                Err(_) if self.at() > at => {}
                Err(_) => return Err(Late),
            }
        }
    }

    fn ends<T>(&self, look: impl FnOnce(&mut Ends) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_wait_that_was_asked_for_moves_the_end_and_another_does_not() {
        let deadline = Deadline::after(SHORT, 20 * SHORT);
        let asked = async {
            assert!(deadline.grant(4 * SHORT));
            sleep(3 * SHORT).await;
        };
        assert_eq!(deadline.bound(asked).await, Ok(()));
        let deadline = Deadline::after(SHORT, 20 * SHORT);
        assert_eq!(deadline.bound(sleep(200 * SHORT)).await, Err(Late));
    }

    #[test]
    fn a_gateway_cannot_ask_for_ever() {
        let deadline = Deadline::after(SHORT, 3 * SHORT);
        let at = deadline.at();
        assert!(deadline.grant(2 * SHORT));
        assert!(!deadline.grant(2 * SHORT));
        assert_eq!(deadline.at(), at + 2 * SHORT);
        assert!(deadline.clone().grant(SHORT));
        assert!(!deadline.grant(SHORT));
    }
}
