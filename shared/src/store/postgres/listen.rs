//! News of other processes: one notification per batch of commits, and a timer beside it that needs none.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use sqlx::{Row as _, postgres::PgListener};
use tokio::time::{sleep, timeout};

use super::{
    connections::{Connector, Lines, too_late},
    load_head,
};
use crate::{chain::chain, store::writer::Signals};

/// Where the news come from; a channel is the database's own.
pub(super) const CHANNEL: &str = "mission_control";
/// The end of the log is read at least this often, whatever was or was not notified.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A listener that hears nothing this long asks whether its connection is alive.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// To set a listener up, or to have its question answered.
const ANSWER: Duration = Duration::from_secs(3);

/// What a notification tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    /// The log reaches this far; 0 if it did not grow.
    pub(super) position: u64,
    /// There may be a job to take.
    pub(super) wakes: bool,
}

impl News {
    /// As it is sent. `origin` names the process that knows already.
    pub(super) fn payload(self, origin: &str) -> String {
        format!("{origin} {} {}", self.position, u8::from(self.wakes))
    }

    /// What another process tells; `None` for our own news, or those of a program that writes them differently.
    fn of_others(payload: &str, origin: &str) -> Option<Self> {
        let mut parts = payload.split(' ');
        parts.next().filter(|from| *from != origin)?;
        let position = parts.next()?.parse().ok()?;
        Some(Self { position, wakes: parts.next()? == "1" })
    }
}

/// Listens until the task is ended; a listener that dies is replaced.
pub(super) async fn listen(connector: Connector, signals: Arc<Signals>, origin: String) {
    let again = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .without_max_times()
        .with_jitter();
    let mut delays = again.build();
    loop {
        let lost = match start(&connector).await {
            Ok(listener) => {
                delays = again.build();
                follow(listener, &signals, &origin).await
            }
            Err(error) => error,
        };
        // What was notified in between is lost: whoever waits looks for himself.
        signals.wake();
        tracing::debug!(error = chain(&lost), "the listener was lost; listening again");
        sleep(delays.next().unwrap_or(LOOK_AGAIN)).await;
    }
}

async fn start(connector: &Connector) -> Result<PgListener, sqlx::Error> {
    let starting = async {
        let mut listener = PgListener::connect_with(&connector.pool_of_one()).await?;
        listener.ignore_pool_close_event(true);
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    timeout(ANSWER, starting).await.unwrap_or_else(|_| Err(too_late("no listener", ANSWER)))
}

/// Passes news on until the connection is lost; returns why.
async fn follow(mut listener: PgListener, signals: &Signals, origin: &str) -> sqlx::Error {
    loop {
        match timeout(SILENCE_MAX, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                if let Some(news) = News::of_others(notification.payload(), origin) {
                    signals.reaches(news.position);
                    if news.wakes {
                        signals.wake();
                    }
                }
            }
            Ok(Ok(None)) => return sqlx::Error::WorkerCrashed,
            Ok(Err(error)) => return error,
            Err(_) => {
                let asked = timeout(ANSWER, sqlx::query("select 1").execute(&mut listener)).await;
                match asked {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return error,
                    Err(_) => return too_late("no answer to the listener", ANSWER),
                }
            }
        }
    }
}

/// Reads the end of the log whenever nothing has been heard of it for a while, until the task is ended.
pub(super) async fn look_again(lines: Arc<Lines>, signals: Arc<Signals>) {
    let mut positions = signals.positions();
    loop {
        if timeout(LOOK_AGAIN, positions.changed()).await.is_ok() {
            continue;
        }
        if let Ok(rows) = lines.fetch("tell the end of the log", load_head).await
            && let Some(row) = rows.first()
            && signals.reaches(crate::store::stored::unsigned(row.get(0)))
        {
            // What was missed may have been a job.
            signals.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_hears_of_others_and_not_of_itself() {
        let news = News { position: 7, wakes: true };
        assert_eq!(News::of_others(&news.payload("a"), "b"), Some(news));
        assert_eq!(News::of_others(&news.payload("a"), "a"), None);
        assert_eq!(News::of_others("what is this", "a"), None);
        assert_eq!(News::of_others("", "a"), None);
    }
}
