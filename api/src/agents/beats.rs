//! How often an agent may call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared::ids::AgentId;
use tokio::time::Instant;

/// Calls that an agent may make in one [`WINDOW`].
const CALLS_MAX: u32 = 30;
/// After this an agent may call again as often.
const WINDOW: Duration = Duration::from_mins(1);

/// Calls of each agent in its running window. Only agents whose token is valid are in it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Beats(Arc<Mutex<HashMap<AgentId, (Instant, u32)>>>);

impl Beats {
    /// Counts a call.
    ///
    /// # Errors
    ///
    /// How long the agent must wait.
    pub fn count(&self, agent: AgentId) -> Result<(), Duration> {
        let now = Instant::now();
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = calls.entry(agent).or_insert((now, 0));
        let passed = now.duration_since(*since);
        if passed >= WINDOW {
            (*since, *count) = (now, 0);
        } else if *count >= CALLS_MAX {
            return Err(WINDOW.saturating_sub(passed));
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shared::clock::{Clock as _, SystemClock};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_agent_has_a_limit_of_its_own_that_passes() {
        let beats = Beats::default();
        let [first, second] = [(); 2].map(|()| AgentId::mint(SystemClock.now()));
        for _ in 0..CALLS_MAX {
            beats.count(first).unwrap();
        }
        assert_eq!(beats.count(first), Err(WINDOW));
        assert_eq!(beats.count(second), Ok(()));
        tokio::time::advance(WINDOW).await;
        assert_eq!(beats.count(first), Ok(()));
    }
}
