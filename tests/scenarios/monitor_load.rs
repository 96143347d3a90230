//! Many gateways, two workers: each is probed once an interval, and the database hardly notices.
//!
//! By default a small and quick one. The one that DESIGN.md promises takes three minutes and runs by hand:
//! `MONITOR_LOAD=full cargo test --workspace --test scenarios many_gateways_are_probed_by_two -- --nocapture`.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use harness::{
    databases::{ServerDatabase, shared, sqlite},
    fake_gateway::{FakeGateway, Options},
    world::{Setup, deps, log},
};
use shared::{
    clock::{Clock, SystemClock},
    commit::{Commit, SecretChange},
    domain::gateway::{
        Event, Gateway,
        event::{MainAgent, Requested, Verified},
        patience::Patience,
    },
    envelope::Actor,
    execute::{Context, build},
    ids::{AgentId, GatewayId, OperationId, OrganizationId},
    register::{agent_token_owner, gateway_token_owner},
    secret::Secret,
    store::Store,
    vault::Vault,
};
use tokio_util::sync::CancellationToken;

/// Each listens on a port of its own; the gateways are paths there.
const LISTENERS: usize = 4;
/// Queries a second of the whole fleet, whatever the number of gateways.
const QUERIES_MAX: f64 = 50.0;

/// How much, how often, how long.
#[derive(Debug, Clone, Copy)]
struct Load {
    gateways: usize,
    every: Duration,
    lasts: Duration,
}

fn load() -> Load {
    let seconds = Duration::from_secs;
    match std::env::var_os("MONITOR_LOAD").as_deref().map(std::ffi::OsStr::to_str) {
        Some(Some("full")) => Load { gateways: 2_000, every: seconds(60), lasts: seconds(180) },
        Some(other) => panic!("MONITOR_LOAD is full or not set, not {other:?}"),
        None => Load { gateways: 100, every: seconds(5), lasts: seconds(16) },
    }
}

/// When the gateways were registered: long ago, or all of them would be probed together at first.
struct LongAgo;

impl Clock for LongAgo {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() - TimeDelta::hours(1)
    }
}

fn registered(number: usize, listener: &FakeGateway, vault: &Vault) -> Commit {
    let clock = LongAgo;
    let at = clock.now();
    let (gateway, operation) = (GatewayId::mint(at), OperationId::mint(at));
    let requested = Requested {
        gateway,
        organization_id: OrganizationId::mint(at),
        name: format!("Gateway {number}"),
        url: format!("{}/gateway-{number}", listener.url()).parse().unwrap(),
        workspace_root: "/ws".to_owned(),
        allow_insecure_tls: false,
        disable_device_pairing: false,
        gateway_agent_id: AgentId::mint(at),
        has_token: true,
        patience: Patience::Background,
        requested_by: "test".to_owned(),
        operation,
    };
    let text = String::new;
    let events = [
        Event::Requested(Box::new(requested)),
        Event::Verified(Verified {
            // What the fake says of itself: that it is another one would be an event.
            runtime_version: "2026.9.6".to_owned(),
            protocol: 4,
            scopes: vec![],
            latency_ms: 1,
        }),
        Event::MainAgentProvisioned(MainAgent {
            agent_id: text(),
            workspace: text(),
            files_written: vec![],
            files_moved: vec![],
            files_not_taken: vec![],
            config_form: text(),
            wake: text(),
        }),
        Event::Created {},
    ];
    let context = Context::of(Actor::command_line());
    let mut commit = build(&clock, (gateway, Gateway::Unknown), &events, &context).unwrap();
    for (owner, secret) in
        [(gateway_token_owner(gateway), "gateway-token"), (agent_token_owner(gateway), "t")]
    {
        let sealed = vault.seal(&owner, &Secret::from(secret)).unwrap();
        commit.secrets.push(SecretChange::Put { owner, sealed });
    }
    commit
}

async fn register_all(store: &Arc<dyn Store>, vault: &Arc<Vault>, (listeners, load): (&[FakeGateway], Load)) {
    let commits: Vec<Commit> =
        (0..load.gateways).map(|number| registered(number, &listeners[number % LISTENERS], vault)).collect();
    let writing = commits.into_iter().map(|commit| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.commit(commit).await.unwrap() })
    });
    for written in writing.collect::<Vec<_>>() {
        written.await.unwrap();
    }
}

/// Instants of the probes of each gateway.
fn probes(listeners: &[FakeGateway]) -> HashMap<String, Vec<Instant>> {
    let mut probes: HashMap<String, Vec<Instant>> = HashMap::new();
    for (path, at) in listeners.iter().flat_map(FakeGateway::upgrades) {
        probes.entry(path).or_default().push(at);
    }
    probes
}

/// Runs so many workers; returns how long they ran.
async fn work(
    stores: &[Arc<dyn Store>],
    vault: &Arc<Vault>,
    load: Load,
    warm: impl AsyncFnOnce(),
) -> Duration {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let setup = Setup { monitor_every: Some(load.every), ..Setup::default() };
    let stop = CancellationToken::new();
    let mut workers = vec![];
    for store in stores {
        let deps = deps(store, &clock, vault, (&setup, "127.0.0.1:9".parse().unwrap())).await;
        workers.push(tokio::spawn(worker::jobs::run(deps, stop.clone())));
    }
    warm().await;
    let began = Instant::now();
    tokio::time::sleep(load.lasts).await;
    let ran = began.elapsed();
    stop.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    ran
}

/// Every gateway is probed with pauses of one interval, a fifth more or less.
fn check_pauses(name: &str, listeners: &[FakeGateway], load: Load) {
    let probes = probes(listeners);
    assert_eq!(probes.len(), load.gateways, "{name}: every gateway is probed");
    let every = load.every.as_secs_f64();
    let pauses: Vec<f64> = probes
        .values()
        .flat_map(|at| at.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64()))
        .collect();
    let (shortest, longest) =
        pauses.iter().fold((f64::MAX, 0_f64), |(low, high), pause| (low.min(*pause), high.max(*pause)));
    let fewest = probes.values().map(Vec::len).min().unwrap();
    println!(
        "{name}: {} gateways, {} pauses of {shortest:.1} to {longest:.1} s, at least {fewest} probes each",
        probes.len(),
        pauses.len()
    );
    // A machine that is busy with other tests delays a probe; for the interval of the small run that is much.
    let slack = if load.every < Duration::from_mins(1) { 8.0 } else { 0.0 };
    let most = every * 1.2 + slack;
    assert!(shortest >= every * 0.8 && longest <= most, "{name}: {shortest} to {longest} s");
    let rounds = (load.lasts.as_secs_f64() / most).floor();
    assert!(f64::from(u32::try_from(fewest).unwrap()) >= rounds, "{name}: {fewest} probes");
}

async fn listeners() -> Vec<FakeGateway> {
    let mut listeners = vec![];
    for _ in 0..LISTENERS {
        listeners.push(FakeGateway::start(Options::default()).await);
    }
    listeners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_gateways_are_probed_by_two_workers_with_few_queries() {
    let (load, database) = (load(), shared().await);
    let (listeners, vault) = (listeners().await, Arc::new(Vault::new(&[7; 32])));
    let stores = [database.open().await, database.open().await];
    register_all(&stores[0], &vault, (&listeners, load)).await;
    let before = log(stores[0].as_ref()).await.len();
    let mut queries = 0.0;
    let ran = work(&stores, &vault, load, async || queries = settled(&database).await).await;
    let a_second = (settled(&database).await - queries) / ran.as_secs_f64();
    println!("postgres: {a_second:.1} queries a second");
    check_pauses("postgres", &listeners, load);
    assert!(a_second < QUERIES_MAX, "{a_second} queries a second");
    assert_eq!(log(stores[0].as_ref()).await.len(), before, "nothing turned, so there is no event");
    let leased = stores[0].jobs().await.unwrap();
    assert!(leased.is_empty(), "{leased:?}");
}

/// Transactions until now; the server tells what sessions did a little later.
async fn settled(database: &ServerDatabase) -> f64 {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    database.transactions().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_gateways_are_probed_on_one_file() {
    let load = Load { gateways: 60, every: Duration::from_secs(5), lasts: Duration::from_secs(16) };
    let (test, listeners, vault) = (sqlite().await, listeners().await, Arc::new(Vault::new(&[7; 32])));
    register_all(&test.store, &vault, (&listeners, load)).await;
    let before = log(test.store.as_ref()).await.len();
    work(&[Arc::clone(&test.store)], &vault, load, async || {}).await;
    check_pauses("sqlite", &listeners, load);
    assert_eq!(log(test.store.as_ref()).await.len(), before, "nothing turned, so there is no event");
}
