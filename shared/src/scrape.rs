//! The page of metrics of a process: what was counted, and how things stand when it is asked for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    clock::Clock,
    meter::{self, Levels},
    store::{Backlog, Store},
    watch::Waiters,
};

/// Media type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The database is asked at most this often, however often the page is.
const FRESH: Duration = Duration::from_secs(1);
/// Most that the page waits for the database, and once more for who asks it already.
const LIMIT: Duration = Duration::from_millis(500);
/// What was measured is taken in at least this often. Without it a process whose page nobody reads would keep every
/// measured value.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects metrics from now on, and takes them in as long as the process lives.
///
/// # Errors
///
/// [`BuildError`] if something else collects them already.
pub fn start() -> Result<PrometheusHandle, BuildError> {
    let handle = meter::start()?;
    let kept = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            kept.run_upkeep();
        }
    });
    Ok(handle)
}

/// Makes the page. Cheap to share behind an `Arc`.
pub struct Scrape {
    handle: PrometheusHandle,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    waiters: Option<Waiters>,
    seen: Mutex<Option<(Instant, Option<Backlog>)>>,
}

impl std::fmt::Debug for Scrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scrape")
    }
}

impl Scrape {
    /// Of this process; `waiters` where clients wait in it.
    #[must_use]
    pub fn new(
        handle: PrometheusHandle,
        (store, clock): (Arc<dyn Store>, Arc<dyn Clock>),
        waiters: Option<Waiters>,
    ) -> Self {
        Self { handle, store, clock, waiters, seen: Mutex::default() }
    }

    /// The page, in Prometheus' text format, after a second at the latest: a database that is away is told, not waited
    /// for.
    pub async fn page(&self) -> String {
        let waiting = self.waiters.as_ref().map_or(0, Waiters::count);
        let queue = self.backlog().await.map(|seen| (seen.due, seen.oldest, seen.is_paused));
        meter::levels(Levels { waiting, queue });
        self.handle.render()
    }

    async fn backlog(&self) -> Option<Backlog> {
        let mut seen = timeout(LIMIT, self.seen.lock()).await.ok()?;
        if let Some((at, backlog)) = *seen
            && at.elapsed() < FRESH
        {
            return backlog;
        }
        let asked = timeout(LIMIT, self.store.backlog(self.clock.now())).await;
        let backlog = asked.ok().and_then(Result::ok);
        *seen = Some((Instant::now(), backlog));
        backlog
    }
}
