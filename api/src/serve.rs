//! `serve`: the API, and a worker beside it, until SIGTERM.

mod files;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use metrics_exporter_prometheus::PrometheusHandle;
use shared::{
    chain::chain,
    checkpoint,
    clock::{Clock, SystemClock},
    config::{Place, raise_file_limit},
    ids::uuid_v7,
    install::{ManageError, found},
    presence::{Presence, host},
    scrape::Scrape,
    secret::Secret,
    store::{Location, ProcessKind, Store, StoreError, insist},
    token,
    vault::{Vault, VaultError},
    watch::Waiters,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    config::Serve,
    guard::Guard,
    routes::router,
    state::{App, Limits, Looks, Prepared},
};

/// How long a client may take nothing of what was sent to it, in milliseconds: two of a stream's comments.
#[cfg(target_os = "linux")]
const UNREAD_MAX: u32 = 30_000;

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

impl ServeError {
    /// Whether the database is away, so that the same may succeed later.
    fn is_away(&self) -> bool {
        match self {
            Self::Store(error) => error.is_away(),
            Self::Vault(error) => error.is_away(),
            Self::Found(error) => error.is_away(),
            Self::Setting(_)
            | Self::File { .. }
            | Self::Locked { .. }
            | Self::Listen { .. }
            | Self::Worker(_) => false,
        }
    }
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
/// A shared database that is away does not end it, neither at the start nor later: `/readyz` says so meanwhile.
///
/// # Errors
///
/// [`ServeError`] with what to do.
#[expect(clippy::too_many_lines, reason = "a start in its order")]
pub async fn run<F: Future<Output = io::Result<()>>>(
    place: &Place,
    settings: &Serve,
    metrics: PrometheusHandle,
    worker: impl FnOnce(Started) -> F,
) -> Result<(), ServeError> {
    let location = place.location()?;
    if settings.no_worker && !location.is_shared() {
        let why = "--no-worker needs PostgreSQL (DATABASE_URL=postgres://…): a SQLite file is used by one process, so \
                   nobody would run its jobs";
        return Err(ServeError::Setting(why.to_owned()));
    }
    let first_token = settings.first_token().map_err(ServeError::Setting)?;
    raise_file_limit();
    let _lock = match &location {
        Location::Sqlite(path) => Some(files::lock(path)?),
        Location::Postgres(_) => None,
    };
    let vault = Arc::new(Vault::open(&place.master_key_path(), !settings.no_worker)?);
    let store = location.open_when_it_comes().await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bound = TcpListener::bind(settings.listen).await;
    let listener = bound.map_err(|source| ServeError::Listen { address: settings.listen, source })?;
    let address = listener.local_addr().unwrap_or(settings.listen);
    let stop = CancellationToken::new();
    let waiters = Waiters::new(settings.waiting_clients_max);
    let tail = tokio::spawn(waiters.clone().tail(Arc::clone(&store)));
    let app = App {
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        vault: Arc::clone(&vault),
        waiters: waiters.clone(),
        looks: Looks::default(),
        beats: crate::agents::beats::Beats::default(),
        guard: Guard::of(&settings.access),
        limits: Limits { sync_wait: settings.sync_wait, ..Limits::default() },
        metrics: Some(Arc::new(Scrape::new(
            metrics,
            (Arc::clone(&store), Arc::clone(&clock)),
            Some(waiters),
        ))),
        prepared: Prepared::default(),
        stop: stop.clone(),
    };
    let prepared = app.prepared.clone();
    tracing::info!(%address, database = %location, worker = !settings.no_worker, "serving; SIGTERM stops");
    tokio::spawn(stop_at_signal(stop.clone()));
    let api = serve(listener, router(app), stop.clone(), settings.work.shutdown_timeout);
    let started = Started { store: Arc::clone(&store), clock, vault, listener: address, stop: stop.clone() };
    let ((), outcome) = tokio::join!(api, async {
        let outcome = tokio::select! {
            done = insist(|| prepare(place, first_token.as_ref(), &started), ServeError::is_away) => done,
            () = stop.cancelled() => Ok(()),
        };
        let outcome = match outcome {
            Ok(()) if stop.is_cancelled() => Ok(()),
            Ok(()) => {
                prepared.set();
                let signing = checkpoint::keep(
                    Arc::clone(&store),
                    Arc::clone(&started.clock),
                    Arc::clone(&started.vault),
                );
                let _signing = AbortOnDropHandle::new(tokio::spawn(signing));
                work(settings, started.clone(), worker).await
            }
            Err(error) => Err(error),
        };
        // A worker that ends by itself takes the process along: a supervisor restarts both.
        stop.cancel();
        outcome
    });
    tail.abort();
    store.close().await;
    tracing::info!("stopped");
    outcome
}

async fn work<F: Future<Output = io::Result<()>>>(
    settings: &Serve,
    started: Started,
    worker: impl FnOnce(Started) -> F,
) -> Result<(), ServeError> {
    if settings.no_worker {
        let id = format!("{}-{}-{}", host(), std::process::id(), uuid_v7(started.clock.now()));
        let access = (started.store, started.clock, started.vault);
        Presence::new(access, (id, ProcessKind::Api), 0).keep(started.stop.cancelled()).await;
        return Ok(());
    }
    worker(started).await.map_err(ServeError::Worker)
}

/// What must hold before a request is answered: the right master key, and somebody who may ask.
async fn prepare(place: &Place, first_token: Option<&Secret>, started: &Started) -> Result<(), ServeError> {
    started.vault.check(started.store.as_ref(), &place.master_key_path()).await?;
    found_once(place, first_token, started.store.as_ref(), started.clock.as_ref()).await
}

/// Ends a connection whose client takes nothing of what is sent to it for [`UNREAD_MAX`], gone or not: a stream that
/// nobody reads would be kept for as long as the program runs.
#[cfg(target_os = "linux")]
fn limit_silence(tcp: &TcpStream) {
    // Where the system does not know it, the connection is no worse than before.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(tcp, UNREAD_MAX);
}

/// Where the system has no such limit.
#[cfg(not(target_os = "linux"))]
fn limit_silence(_: &TcpStream) {}

/// Answers on this listener until stopped, then lets running requests end within the limit.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, limit: Duration) {
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
        limit_silence(tcp);
    });
    let ended = stop.clone();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving =
        axum::serve(listener, service).with_graceful_shutdown(async move { ended.cancelled().await });
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
    shared::config::stop_signal().await;
    tracing::info!("stopping: running work ends or is handed back");
    stop.cancel();
}

/// On an empty store: the first organization, its owner, and a token that is also the operator's.
async fn found_once(
    place: &Place,
    first_token: Option<&Secret>,
    store: &dyn Store,
    clock: &dyn Clock,
) -> Result<(), ServeError> {
    let is_empty = store.head().await?.position == 0;
    match (first_token, is_empty) {
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
    } else if store.credential(&token::hash(token.expose())).await?.is_none() {
        // Another process founded it with a token of its own; ours is worth nothing.
        let _ = std::fs::remove_file(&path);
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
