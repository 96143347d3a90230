//! The monitor: probes every registered gateway once an interval, without being asked.
//!
//! Three loops: the schedule is brought in line with the gateways (one worker of a fleet at a time), due probes are claimed
//! many at a time, and what they found is written many at a time. So the load of the database is a matter of seconds, not of
//! gateways. A probe has permits of its own and no place in the queue: no job ever waits for one.

use std::{sync::Arc, time::Duration};

use shared::{
    chain::chain,
    domain::gateway::{
        Gateway, Health,
        failure::Failure,
        health::{MISSES_MAX, Sight, Tally},
        patience::Patience,
        url::GatewayUrl,
    },
    execute::load,
    meter,
    monitor::{enrol, key},
    register::{device_token_owner, gateway_token_owner},
    secret::Secret,
    store::{DueProbe, ProbeClaim, Probed},
    view::GatewayRead,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Deps,
    gateway::{
        handshake::Mode,
        session::Target,
        status::{Status, status},
        tls::Certificate,
    },
    observe::{self, Before},
};

/// If nothing is heard of a probe for so long, its worker is gone.
const LEASE: Duration = Duration::from_secs(30);
/// Most probes that are claimed, or ended, by one statement.
const BATCH_MAX: usize = 500;
/// Whoever brings the schedule in line keeps the turn for so long.
const TURN: Duration = Duration::from_secs(20);
/// What was found is written with what others find within so long.
const GATHER: Duration = Duration::from_millis(500);
/// What could not be written so often is forgotten: the gateway is probed again.
const WRITES_MAX: u32 = 5;

/// A probe that ended.
struct Ended {
    due: DueProbe,
    key: String,
    tally: Tally,
    /// When the next one begins.
    next: Option<Instant>,
    observation: Option<String>,
}

/// Probes until `stop` is cancelled; then what runs is cut off and handed back.
pub async fn run(deps: Deps, stop: CancellationToken) {
    let Some(every) = deps.settings.monitor_every else { return };
    let deps = Arc::new(deps);
    let (ended, ends) = mpsc::channel(BATCH_MAX * 2);
    tokio::join!(
        keep_schedule(&deps, every, &stop),
        claim_due(&deps, every, (ended, &stop)),
        write_ends(&deps, ends, &stop),
    );
}

/// Looks often where the interval is short.
fn share(every: Duration, share: u32, longest: Duration) -> Duration {
    (every / share).clamp(Duration::from_millis(50), longest)
}

async fn keep_schedule(deps: &Deps, every: Duration, stop: &CancellationToken) {
    let pause = share(every, 10, Duration::from_secs(6));
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        let (store, clock) = (deps.store.as_ref(), deps.clock.as_ref());
        match store.take_turn("monitor", &deps.settings.worker_id, TURN, clock.now()).await {
            Ok(false) => {}
            Ok(true) => match enrol(store, clock, every).await {
                Ok(enrolled) => tracing::debug!(?enrolled, "the schedule of probes is in line"),
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "the schedule of probes could not be kept; trying again"
                    );
                }
            },
            Err(error) => tracing::debug!(error = chain(&error), "no turn to schedule probes; trying again"),
        }
    }
}

async fn claim_due(
    deps: &Arc<Deps>,
    every: Duration,
    (ended, stop): (mpsc::Sender<Ended>, &CancellationToken),
) {
    let tick = share(every, 60, Duration::from_secs(1));
    // Half of what a worker dials for jobs, beside them.
    let most = usize::try_from(deps.settings.concurrency).unwrap_or(BATCH_MAX).div_ceil(2);
    let permits = Arc::new(Semaphore::new(most));
    loop {
        tokio::select! {
            () = tokio::time::sleep(tick) => {}
            () = stop.cancelled() => return,
        }
        let mut free = vec![];
        while free.len() < BATCH_MAX
            && let Ok(permit) = Arc::clone(&permits).try_acquire_owned()
        {
            free.push(permit);
        }
        if free.is_empty() {
            continue;
        }
        let limit = u32::try_from(free.len()).unwrap_or(1);
        match deps.store.claim_probes(ProbeClaim { limit, lease: LEASE, now: deps.clock.now() }).await {
            Ok(claimed) => {
                for (due, permit) in claimed.into_iter().zip(free) {
                    let probe = probe(Arc::clone(deps), (due, every), (ended.clone(), permit), stop.clone());
                    tokio::spawn(probe);
                }
            }
            Err(error) => tracing::warn!(error = chain(&error), "probes could not be claimed; trying again"),
        }
    }
}

/// One probe, in a task of its own: what hangs or panics hurts nobody else.
async fn probe(
    deps: Arc<Deps>,
    (due, every): (DueProbe, Duration),
    (ended, permit): (mpsc::Sender<Ended>, OwnedSemaphorePermit),
    stop: CancellationToken,
) {
    let began = Instant::now();
    let key = key(&due.document);
    let (tally, observation) = tokio::select! {
        found = Box::pin(look(&deps, &due)) => found,
        () = stop.cancelled() => {
            // At once, by another worker.
            let tally = due.tally;
            let _ = ended.send(Ended { due, key, tally, next: Some(began), observation: None }).await;
            return;
        }
    };
    drop(permit);
    let next = tally.wait(every, rand::random()).map(|wait| began + wait);
    let _ = ended.send(Ended { due, key, tally, next, observation }).await;
}

/// What was found, with what was found before; nothing where nobody could look.
async fn look(deps: &Deps, due: &DueProbe) -> (Tally, Option<String>) {
    let Ok(read) = serde_json::from_str::<GatewayRead>(&due.document) else {
        tracing::error!(gateway.id = %due.gateway, "the gateway's document cannot be read; it is not probed");
        return (due.tally, None);
    };
    // A gateway that is being removed is not watched.
    let Some(health) = Health::shown(&read.status) else { return (due.tally, None) };
    let is_our_finding = matches!(due.tally.last, Some(Sight::Unusable | Sight::Refused));
    if health == Health::Degraded && !is_our_finding && is_refused(deps, due).await {
        // A job was refused meanwhile: the same credential is not sent again.
        return (due.tally.after(Sight::Refused), None);
    }
    // A person or a job reached it since: what was counted before does not count any more.
    let is_stale = health == Health::Online && due.tally.misses >= MISSES_MAX;
    let before = if is_stale { Tally::default() } else { due.tally };
    let found = match dial(deps, due, &read).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(gateway.id = %due.gateway, error, "the gateway's secrets could not be opened; it is not probed");
            return (due.tally, None);
        }
    };
    let sight = found.as_ref().map_or_else(|failure| Sight::of(failure.cause), |_| Sight::Reached);
    meter::probed(sight);
    tracing::debug!(gateway.id = %due.gateway, ?sight, "gateway probed");
    let tally = before.after(sight);
    let known = Before { gateway: due.gateway, health, ran: read.runtime_version.as_deref() };
    let recorded = observe::record(deps, known, (&found, tally)).await;
    let observation = observe::noted(deps, &read.url, &found, due.observation.as_deref());
    // What could not be recorded turns with the next probe.
    (if recorded.is_ok() { tally } else { due.tally }, observation)
}

async fn is_refused(deps: &Deps, due: &DueProbe) -> bool {
    match load(deps.store.as_ref(), due.gateway).await {
        Ok(Gateway::Known(known)) => known.is_refused(),
        Ok(Gateway::Unknown) => false,
        Err(error) => {
            tracing::warn!(gateway.id = %due.gateway, error = chain(&error), "the gateway's stream could not be read");
            false
        }
    }
}

async fn dial(deps: &Deps, due: &DueProbe, read: &GatewayRead) -> Result<Result<Status, Failure>, String> {
    let open = |owner: String, sealed: Option<&shared::commit::Sealed>| {
        let opened = sealed.map(|sealed| deps.vault.open_sealed(&owner, sealed)).transpose();
        opened.map_err(|error| chain(&error))
    };
    let token = open(gateway_token_owner(due.gateway), due.gateway_token.as_ref())?;
    let device_token = open(device_token_owner(due.gateway), due.device_token.as_ref())?;
    if read.has_token && token.is_none() {
        return Err("the sealed gateway token is missing".to_owned());
    }
    let url: GatewayUrl = read.url.parse().map_err(|_| "the address cannot be read".to_owned())?;
    let secrets: Vec<Secret> = token.iter().chain(&device_token).cloned().collect();
    let target = Target {
        url: &url,
        device_token: device_token.as_ref().filter(|_| !read.disable_device_pairing),
        token: token.as_ref().filter(|_| read.has_token),
        certificate: if read.allow_insecure_tls { Certificate::Unchecked } else { Certificate::Checked },
        mode: if read.disable_device_pairing { Mode::ControlUi } else { Mode::Device },
        patience: Patience::Waiting,
        secrets,
    };
    let sought = (&deps.settings.minimum_version, read.gateway_agent_id);
    Ok(status(&observe::quick(&deps.dialer), target, sought).await)
}

/// Ends when the last probe has told what it found.
async fn write_ends(deps: &Deps, mut ends: mpsc::Receiver<Ended>, stop: &CancellationToken) {
    let mut gathered = Vec::with_capacity(BATCH_MAX);
    while ends.recv_many(&mut gathered, BATCH_MAX).await > 0 {
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = stop.cancelled() => {}
        }
        while gathered.len() < BATCH_MAX
            && let Ok(ended) = ends.try_recv()
        {
            gathered.push(ended);
        }
        write(deps, std::mem::take(&mut gathered)).await;
    }
}

async fn write(deps: &Deps, ended: Vec<Ended>) {
    let mut tried = 0;
    loop {
        tried += 1;
        let now = Instant::now();
        let probed: Vec<Probed> = ended
            .iter()
            .map(|ended| Probed {
                gateway: ended.due.gateway,
                token: ended.due.token,
                gateway_key: ended.key.clone(),
                tally: ended.tally,
                next: ended.next.map(|next| next.saturating_duration_since(now)),
                observation: ended.observation.clone(),
            })
            .collect();
        match deps.store.end_probes(&probed, deps.clock.now()).await {
            Ok(_) => return,
            Err(error) if tried < WRITES_MAX => {
                tracing::debug!(
                    error = chain(&error),
                    "what probes found could not be written; trying again"
                );
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => {
                tracing::warn!(
                    probes = ended.len(),
                    error = chain(&error),
                    "what probes found could not be written; these gateways are probed again"
                );
                return;
            }
        }
    }
}
