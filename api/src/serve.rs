//! `serve`: the API, and a worker beside it, until SIGTERM.

mod files;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use metrics_exporter_prometheus::PrometheusHandle;
use shared::{
    chain::chain,
    clock::{Clock, SystemClock},
    install::{ManageError, found},
    secret::Secret,
    store::{Store, StoreError, sqlite::SqliteStore},
    token,
    vault::{Vault, VaultError},
    watch::Waiters,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Place, Serve},
    routes::router,
    state::{App, Limits, Looks},
};

/// Why the server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// A file of the data directory cannot be used.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another `serve` runs on this file.
    #[error("another `mission-control serve` runs on {path}; stop it first, or use another --data-dir")]
    Locked {
        /// Which.
        path: String,
    },
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on; choose another LISTEN_ADDR")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The first organization could not be founded.
    #[error(transparent)]
    Found(#[from] ManageError),
    /// The worker ended without having been asked to.
    #[error("the worker ended")]
    Worker(#[source] io::Error),
}

/// What the worker in this process shares with the API.
#[derive(Clone)]
pub struct Started {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The master key.
    pub vault: Arc<Vault>,
    /// Where the API listens: never dialled.
    pub listener: SocketAddr,
    /// Cancelled when the process is to stop.
    pub stop: CancellationToken,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// Serves until SIGTERM or SIGINT. `worker` runs beside the API until its stop token is cancelled.
///
/// # Errors
///
/// [`ServeError`] with what to do.
pub async fn run<F: Future<Output = io::Result<()>>>(
    place: &Place,
    settings: &Serve,
    metrics: PrometheusHandle,
    worker: impl FnOnce(Started) -> F,
) -> Result<(), ServeError> {
    if settings.no_worker {
        let why = "--no-worker needs PostgreSQL: a SQLite file is used by one process, so nobody would run its jobs";
        return Err(ServeError::Setting(why.to_owned()));
    }
    raise_file_limit();
    let path = place.sqlite_path().map_err(ServeError::Setting)?;
    let _lock = files::lock(&path)?;
    let key_path = place.master_key_path();
    let vault = Arc::new(Vault::open(&key_path, true)?);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).await?);
    vault.check(store.as_ref(), &key_path).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    found_once(place, settings, store.as_ref(), clock.as_ref()).await?;
    let bound = TcpListener::bind(settings.listen).await;
    let listener = bound.map_err(|source| ServeError::Listen { address: settings.listen, source })?;
    let address = listener.local_addr().unwrap_or(settings.listen);
    let stop = CancellationToken::new();
    let started = Started {
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        vault: Arc::clone(&vault),
        listener: address,
        stop: stop.clone(),
    };
    let waiters = Waiters::new(settings.waiting_clients_max);
    let tail = tokio::spawn(waiters.clone().tail(Arc::clone(&store)));
    let app = App {
        store: Arc::clone(&store),
        clock,
        vault,
        waiters,
        looks: Looks::default(),
        limits: Limits { sync_wait: settings.sync_wait, ..Limits::default() },
        metrics: Some(metrics),
        stop: stop.clone(),
    };
    tracing::info!(%address, database = %path.display(), "serving; SIGTERM stops");
    tokio::spawn(stop_at_signal(stop.clone()));
    let api = serve(listener, router(app), stop.clone(), settings.shutdown_timeout);
    let ((), outcome) = tokio::join!(api, async {
        let outcome = worker(started).await;
        // A worker that ends by itself takes the process along: a supervisor restarts both.
        stop.cancel();
        outcome
    });
    tail.abort();
    store.close().await;
    tracing::info!("stopped");
    outcome.map_err(ServeError::Worker)
}

/// Answers on this listener until stopped, then lets running requests end within the limit.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, limit: Duration) {
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    let ended = stop.clone();
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(async move { ended.cancelled().await });
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        served = serving => if let Err(error) = served {
            tracing::error!(error = chain(&error), "the API ended");
        },
        () = overdue => tracing::warn!("some requests did not end in time; they are cut off"),
    }
}

async fn stop_at_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be listened for; only SIGKILL stops this process");
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("stopping: running work ends or is handed back");
    stop.cancel();
}

fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!(files, "file limit"),
        Err(error) => tracing::warn!(error = chain(&error), "the limit of open files could not be raised"),
    }
}

/// On an empty store: the first organization, its owner, and a token that is also the operator's.
async fn found_once(
    place: &Place,
    settings: &Serve,
    store: &dyn Store,
    clock: &dyn Clock,
) -> Result<(), ServeError> {
    let is_empty = store.head().await?.position == 0;
    match (&settings.admin_token, is_empty) {
        (Some(token), true) => {
            found(store, clock, token).await?;
        }
        (Some(given), false) => {
            if store.credential(&token::hash(given.expose())).await?.is_none() {
                tracing::warn!("MISSION_CONTROL_ADMIN_TOKEN is ignored: the store is not empty");
            }
        }
        (None, true) => found_with_new_token(place, store, clock).await?,
        (None, false) => {}
    }
    Ok(())
}

/// The token is written before it is valid: a crash in between leaves a file that the next start takes up.
async fn found_with_new_token(place: &Place, store: &dyn Store, clock: &dyn Clock) -> Result<(), ServeError> {
    let path = place.data_dir.join("admin-token");
    let token = files::token(&path, token::api)?;
    if found(store, clock, &token).await? {
        announce(&token, &path);
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the token is shown once and never logged")]
fn announce(token: &Secret, path: &std::path::Path) {
    eprintln!(
        "First start. Owner's and operator's API token (also in {}): {}",
        path.display(),
        token.expose()
    );
}
