//! Whether the database answers this process, and since when it does.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

#[derive(Debug, Clone, Copy)]
enum Seen {
    /// Not yet, since this process started.
    Never,
    /// It answered before, and does not now.
    Lost,
    /// It answers.
    Since(Instant),
}

/// What the last call to the database told. Every connection reports here.
#[derive(Debug)]
pub(super) struct Health(Mutex<Seen>);

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(Seen::Never))
    }
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database answered, if only to refuse.
    pub(super) fn answered(&self) {
        let mut seen = self.lock();
        if matches!(*seen, Seen::Lost) {
            tracing::info!("the database is back");
        }
        if !matches!(*seen, Seen::Since(_)) {
            *seen = Seen::Since(Instant::now());
        }
    }

    /// A connection was lost, or none was to be had.
    pub(super) fn lost(&self, error: &sqlx::Error) {
        let mut seen = self.lock();
        if matches!(*seen, Seen::Since(_)) {
            tracing::warn!(error = crate::chain::chain(error), "the database is away");
        }
        if !matches!(*seen, Seen::Never) {
            *seen = Seen::Lost;
        }
    }

    /// Whether it has answered for this long. The first answer of a process begins like a return: nobody here knows
    /// what was before it.
    pub(super) fn is_back_for(&self, time: Duration) -> bool {
        match *self.lock() {
            Seen::Never | Seen::Lost => false,
            Seen::Since(back) => back.elapsed() >= time,
        }
    }
}

/// Whether an error means that the connection is of no more use, and another one may be.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Database(refused) = error {
        // Connection exceptions; shut down, crashed, starting; no connection left; a standby that was the primary; a
        // session that was ended because it sat in a transaction.
        let of_connection = |code: &str| {
            code.starts_with("08") || code.starts_with("57P") || ["53300", "25006", "25P03"].contains(&code)
        };
        return refused.code().is_some_and(|code| of_connection(&code));
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_counts_from_the_first_answer_after_a_loss() {
        let health = Health::default();
        assert!(!health.is_back_for(Duration::ZERO), "nobody has asked yet");
        health.answered();
        assert!(health.is_back_for(Duration::ZERO));
        assert!(!health.is_back_for(Duration::from_mins(1)), "the first answer begins the time");
        health.lost(&sqlx::Error::PoolTimedOut);
        assert!(!health.is_back_for(Duration::ZERO));
        health.answered();
        assert!(health.is_back_for(Duration::ZERO));
    }
}
