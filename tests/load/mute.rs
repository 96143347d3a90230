//! 1,000 clients, each waiting on a gateway of its own that upgrades and then says nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use harness::{
    databases::Sessions,
    fake_gateway::{FakeGateway, Options},
    site::Site,
    strangers::{Manner, Stranger},
    world::body,
};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{alone, percentile};

const CLIENTS: usize = 1_000;
/// Everybody is answered this soon.
const ANSWERED: Duration = Duration::from_secs(30);
/// A list takes no longer, in 99 of 100 cases.
const LIST: Duration = Duration::from_millis(50);
/// For a test build of everything, clients and gateways included, on two busy cores.
const SLACK: Duration = Duration::from_millis(150);
/// The same while 1,000 clients arrive at once.
const SLACK_ARRIVING: Duration = Duration::from_millis(950);
/// A process has no more memory than this at any time, in MB.
const RSS_MAX: u64 = 150;
/// By then all of them wait: what is asked later is asked beside those who wait, and not beside 1,000 that arrive at once.
const ARRIVED: Duration = Duration::from_secs(3);
/// Connections of one process to its server: reads, queue, commits, news.
const SESSIONS_MAX: i64 = 8 + 2 + 1 + 1;
/// Files that are open on a SQLite database: one that writes, four that read.
const FILES_MAX: usize = 1 + 4;

/// What was seen while they waited.
#[derive(Debug, Default)]
struct Seen {
    /// When each list was asked for, since the beginning, and how long it took.
    lists: Vec<(Duration, Duration)>,
    sessions: Vec<Sessions>,
    files: Vec<usize>,
}

async fn look(site: Arc<Site>, stop: CancellationToken) -> Seen {
    let mut seen = Seen::default();
    let began = Instant::now();
    while !stop.is_cancelled() {
        let asked = Instant::now();
        let listed = site.get("/api/v1/gateways").await;
        assert_eq!((listed.status, listed.json["total"].as_u64()), (200, Some(10)), "{}", listed.text);
        seen.lists.push((asked - began, asked.elapsed()));
        if seen.lists.len().is_multiple_of(20) {
            match site.database() {
                Some(database) => seen.sessions.push(database.sessions().await),
                None => seen.files.push(open_files(&site)),
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen
}

/// How long lists take before anybody waits, in 99 of 100 cases: what else the machine does is in it.
async fn undisturbed(site: &Site) -> Duration {
    let mut times = vec![];
    for _ in 0..100 {
        let asked = Instant::now();
        assert_eq!(site.get("/api/v1/gateways").await.status, 200, "{}", site.name);
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    percentile(&mut times, 99)
}

/// How often the embedded process has its database open.
fn open_files(site: &Site) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", site.ids()[0])).unwrap();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().ends_with("/mission-control.db")).count()
}

/// The most memory that a process ever had, in MB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1_024 / 1_000_000
}

fn wants(url: &str) -> Value {
    json!({"name": "mute", "url": url, "workspace_root": "/srv/ws", "token": "gateway-token"})
}

async fn all_are_answered(site: Site) {
    let site = Arc::new(site);
    let there = FakeGateway::start(Options { forgets: true, ..Options::default() }).await;
    for _ in 0..10 {
        assert_eq!(site.post(&body(&there), &[]).await.status, 200, "{}", site.name);
    }
    let mute = join_all((0..CLIENTS).map(|_| Stranger::start(Manner::MuteAfterUpgrade))).await;
    let before = undisturbed(&site).await;
    let stop = CancellationToken::new();
    let looking = tokio::spawn(look(Arc::clone(&site), stop.clone()));
    let clients = mute.iter().map(|gateway| {
        let (site, body) = (Arc::clone(&site), wants(&format!("ws://{}", gateway.address())));
        AbortOnDropHandle::new(tokio::spawn(async move {
            let asked = Instant::now();
            let answer = site.post(&body, &[]).await;
            (answer, asked.elapsed())
        }))
    });
    let clients: Vec<_> = clients.collect();
    let mut times = vec![];
    for client in clients {
        let (answer, took) = client.await.unwrap();
        answer.assert_problem(502, "gateway_timeout", Some("handshake"));
        times.push(took);
    }
    stop.cancel();
    let seen = looking.await.unwrap();
    let (last, median) = (percentile(&mut times, 100), percentile(&mut times, 50));
    let mut lists: Vec<Duration> = seen.lists.iter().map(|(_, took)| *took).collect();
    let later = seen.lists.iter().filter(|(asked, _)| *asked > ARRIVED);
    let mut beside: Vec<Duration> = later.map(|(_, took)| *took).collect();
    let (p99, p99_beside) = (percentile(&mut lists, 99), percentile(&mut beside, 99));
    let peaks: Vec<u64> = site.ids().into_iter().map(peak).collect();
    println!(
        "{}: {CLIENTS} clients of mute gateways: answered after {median:?} (median), {last:?} (last); {} lists \
         meanwhile: p99 {p99:?}; {} of them when all had arrived: p99 {p99_beside:?}, median {:?}; peak memory {peaks:?} MB",
        site.name,
        lists.len(),
        beside.len(),
        percentile(&mut beside, 50),
    );
    println!(
        "{}: p99 of a list before {before:?}; sessions {:?}, files {:?}",
        site.name,
        seen.sessions.last(),
        seen.files.last()
    );
    assert!(last < ANSWERED, "{}: {last:?}", site.name);
    assert!(beside.len() >= 50 && p99_beside < LIST + SLACK + before * 4, "{}: {p99_beside:?}", site.name);
    assert!(p99 < LIST + SLACK_ARRIVING + before * 4, "{}: {p99:?}", site.name);
    assert!(peaks.iter().all(|peak| *peak < RSS_MAX), "{}: {peaks:?}", site.name);
    let processes = i64::try_from(site.ids().len()).unwrap();
    assert!(seen.sessions.iter().all(|now| now.open <= SESSIONS_MAX * processes), "{:?}", seen.sessions);
    assert!(seen.sessions.iter().all(|now| now.held == 0), "{:?}", seen.sessions);
    assert!(seen.files.iter().all(|files| *files <= FILES_MAX), "{:?}", seen.files);
    assert!(seen.sessions.len() + seen.files.len() >= 5, "nobody looked");
    for gateway in &mute {
        assert_eq!(gateway.dials(), 1, "{}", site.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_of_mute_gateways_hold_nobody_up() {
    let _turn = alone().await;
    shared::config::raise_file_limit();
    for site in Site::both(&[]).await {
        all_are_answered(site).await;
    }
}
