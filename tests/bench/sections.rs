//! The parts of a run, and the aims.

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use clap::ValueEnum;
use shared::store::{Location, Store, sqlite::SqliteStore};
use tempfile::TempDir;

use crate::{
    commits::{self, Plain},
    creates::create,
    database::Database,
    floor::{self, Script},
    http::Http,
    jobs, log,
    numbers::{float, repeat, rounds},
    processes::{Gateway, Server, Start, syncs, tool},
    report::{Aim, Report},
    stock, waiting,
};

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    Sqlite,
    Postgres,
    Commits,
    Jobs,
    Waiting,
    Log,
}

const CLIENTS: [usize; 4] = [1, 8, 32, 128];
const WRITERS: [usize; 3] = [1, 8, 64];

/// What every part uses.
pub(crate) struct Bench {
    time: Duration,
    share: usize,
    folder: TempDir,
    database: Database,
}

impl Bench {
    /// Each measurement takes this time, or does one of `share` parts of a fixed number.
    pub(crate) async fn new(time: Duration, share: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { time, share, folder, database: Database::start().await }
    }

    pub(crate) async fn run(&self, only: &[Section], report: &mut Report) {
        for section in Section::value_variants() {
            let is_asked_for =
                if only.is_empty() { *section != Section::Log } else { only.contains(section) };
            if !is_asked_for {
                continue;
            }
            eprintln!("{section:?}");
            match section {
                Section::Sqlite => self.service("sqlite", None, report).await,
                Section::Postgres => {
                    let url = self.database.new_database().await;
                    self.service("postgres", Some(&url), report).await;
                }
                Section::Commits => self.commits(report).await,
                Section::Jobs => self.jobs(report).await,
                Section::Waiting => self.waiting(report).await,
                Section::Log => {
                    let events = 1_000_000 / u64::try_from(self.share).unwrap_or(1);
                    log::measure(&self.database, events, report).await;
                }
            }
        }
    }

    async fn service(&self, name: &str, database: Option<&str>, report: &mut Report) {
        let gateway = Gateway::start();
        let start = || Start { database, ..Start::default() };
        let server = Server::start(start()).await;
        let new = server.cold_start;
        let server = Server::start(Start { data: Some(server.stop()), ..start() }).await;
        report.add(format!("{name} cold start, new"), new.as_secs_f64() * 1_000.0, "ms");
        report.add(format!("{name} cold start, again"), server.cold_start.as_secs_f64() * 1_000.0, "ms");
        report.judge(
            format!("{name} RSS, started"),
            server.resident_kib() / 1_024.0,
            "MiB",
            Aim::AtMost(60.0),
        );
        create(&server, &gateway.url, 8, self.time / 4).await;
        self.floor(name, &server, &gateway, report).await;
        for clients in CLIENTS {
            let cpu = (server.processor_seconds(), gateway.processor_seconds());
            let before = self.syncs(database).await;
            let times = create(&server, &gateway.url, clients, self.time).await;
            let label = format!("{name} creates, {clients} clients");
            let is_judged = clients == 32;
            let rate = times.per_second();
            let aim = is_judged.then_some(Aim::AtLeast(500.0));
            report.put(format!("{label}, per second"), rate, "/s", aim);
            report.add(format!("{label}, p50"), times.p50_ms(), "ms");
            report.add(format!("{label}, p99"), times.p99_ms(), "ms");
            if is_judged {
                let each = |after: f64, before: f64| (after - before) * 1_000.0 / times.count();
                report.add(
                    format!("{label}, cpu server"),
                    each(server.processor_seconds(), cpu.0),
                    "ms each",
                );
                report.add(
                    format!("{label}, cpu gateway"),
                    each(gateway.processor_seconds(), cpu.1),
                    "ms each",
                );
                if let Some(before) = before {
                    let syncs = self.syncs(database).await.unwrap_or_default() - before;
                    report.add(format!("{label}, syncs"), syncs / times.count(), "per create");
                }
            }
        }
        if database.is_none() {
            self.syncs_of_creates(&gateway, report).await;
        }
        self.reads(name, &server, report).await;
        report.judge(format!("{name} RSS, used"), server.resident_kib() / 1_024.0, "MiB", Aim::AtMost(60.0));
        server.stop();
    }

    /// Of the whole server, once its sessions have told what they did.
    async fn syncs(&self, database: Option<&str>) -> Option<f64> {
        let url = database?;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        Some(self.database.syncs(url).await)
    }

    /// One client: the service, and the bare client right after it.
    async fn floor(&self, name: &str, server: &Server, gateway: &Gateway, report: &mut Report) {
        let script = Script::note().await;
        let ours = create(server, &gateway.url, 1, self.time).await;
        let bare = floor::measure(&script, &gateway.url, self.folder.path(), self.time).await;
        report.add(format!("{name} floor, calls"), float(script.calls()), "per create");
        report.add(format!("{name} floor, p50"), bare.p50_ms(), "ms");
        let aim = Aim::AtMost(20.0);
        report.judge(format!("{name} create, p50"), ours.p50_ms(), "ms", aim);
        report.judge(
            format!("{name} create : floor"),
            ours.p50_ms() / bare.p50_ms(),
            "ratio",
            Aim::AtMost(1.3),
        );
    }

    async fn syncs_of_creates(&self, gateway: &Gateway, report: &mut Report) {
        let file = self.folder.path().join("creates.strace");
        let server = Server::start(Start { strace: Some(&file), ..Start::default() }).await;
        let times = create(&server, &gateway.url, 32, self.time).await;
        server.stop();
        report.add("sqlite creates, 32 clients, syncs", syncs(&file) / times.count(), "per create");
    }

    async fn reads(&self, name: &str, server: &Server, report: &mut Report) {
        let mut http = server.connect().await.expect("the server takes connections");
        let list = "/api/v1/gateways?limit=50";
        let listed: serde_json::Value =
            serde_json::from_slice(&http.get(list).await).expect("a list is JSON");
        let one = format!("/api/v1/gateways/{}", listed["items"][0]["id"].as_str().unwrap_or_default());
        for (what, path, aim) in
            [("GET one", one.as_str(), Some(Aim::AtLeast(5_000.0))), ("list of 50", list, None)]
        {
            let times = repeat(32, self.time, |_| {
                let (address, token) = (server.address, server.token.clone());
                let (path, time) = (path.to_owned(), self.time);
                async move {
                    let http = Http::connect(address, &token).await.expect("the server takes connections");
                    let http = tokio::sync::Mutex::new(http);
                    rounds(time, |_| async {
                        http.lock().await.get(&path).await;
                    })
                    .await
                }
            })
            .await;
            report.put(format!("{name} {what}"), times.per_second(), "/s", aim);
            report.add(format!("{name} {what}, p99"), times.p99_ms(), "ms");
        }
    }

    async fn commits(&self, report: &mut Report) {
        let url = self.database.new_database().await;
        let shared = open(&url).await;
        let own = SqliteStore::open(&self.folder.path().join("commits.db")).await.expect("a new file");
        let own: Arc<dyn Store> = Arc::new(own);
        for (name, store) in [("sqlite", &own), ("postgres", &shared)] {
            for writers in WRITERS {
                let ours = commits::ours(store, writers, self.time).await.per_second();
                let label = format!("{name} commits, {writers} writers");
                report.add(&label, ours, "/s");
                let plain = match name {
                    "sqlite" => commits::plain_sqlite(self.folder.path(), writers, self.time).await,
                    _ => commits::plain_postgres(&url, writers, self.time, Plain::Transaction).await,
                };
                report.add(format!("{label}, plain"), plain.per_second(), "/s");
                let ratio = ours / plain.per_second();
                let aim = (writers == 64).then_some(Aim::AtLeast(2.0));
                report.put(format!("{label} : plain"), ratio, "ratio", aim);
                if writers == 64 {
                    let without_a_link = 1.0 / (1.0 / ours - commits::seconds_per_link());
                    let ratio = ours / without_a_link;
                    report.judge(format!("{name} chain : none"), ratio, "ratio", Aim::AtLeast(0.95));
                }
            }
        }
        let plain = commits::plain_postgres(&url, 64, self.time, Plain::OneStatement).await.per_second();
        report.add("postgres commits, 64 writers, one statement", plain, "/s");
        report.add(
            "postgres commits, 64 writers : one statement",
            report.value("postgres commits, 64 writers") / plain,
            "ratio",
        );
        self.syncs_of_commits(&shared, &url, report).await;
    }

    async fn syncs_of_commits(&self, shared: &Arc<dyn Store>, url: &str, report: &mut Report) {
        let before = self.syncs(Some(url)).await.unwrap_or_default();
        let times = commits::ours(shared, 128, self.time).await;
        let syncs_there = self.syncs(Some(url)).await.unwrap_or_default() - before;
        let file = self.folder.path().join("commits.strace");
        let own = std::env::current_exe().expect("this program knows where it is");
        let milliseconds = self.time.as_millis().to_string();
        let counted = tool(Some(&file), &own)
            .arg("commits")
            .arg(self.folder.path().join("syncs.db"))
            .args(["128", &milliseconds])
            .stdin(Stdio::null())
            .output()
            .expect("this program can be started again");
        let commits: f64 = String::from_utf8_lossy(&counted.stdout).trim().parse().unwrap_or(f64::NAN);
        for (name, each) in [("sqlite", syncs(&file) / commits), ("postgres", syncs_there / times.count())] {
            let label = format!("{name} commits, 128 writers, syncs");
            report.judge(label, each, "per commit", Aim::AtMost(0.25));
        }
    }

    async fn jobs(&self, report: &mut Report) {
        let jobs = 20_000 / self.share;
        let url = self.database.new_database().await;
        let stock = stock::open(&self.database.new_database().await).await;
        let mut best = 0.0_f64;
        for at_once in [64, 100, 256] {
            let rate = stock::no_ops_per_second(&stock, jobs, at_once).await;
            report.add(format!("postgres stock no-op jobs, {at_once}/{at_once}"), rate, "/s");
            best = best.max(rate);
        }
        let own = SqliteStore::open(&self.folder.path().join("jobs.db")).await.expect("a new file");
        let own: Arc<dyn Store> = Arc::new(own);
        let (shared, other) = (open(&url).await, open(&url).await);
        for (name, store) in [("sqlite", &own), ("postgres", &shared)] {
            let rate = jobs::no_ops_per_second(store, jobs).await;
            report.judge(format!("{name} no-op jobs"), rate, "/s", Aim::AtLeast(10_000.0));
            report.add(format!("{name} real jobs"), jobs::real_per_second(store, jobs).await, "/s");
        }
        let ratio = report.value("postgres no-op jobs") / best;
        report.judge("postgres no-op jobs : stock", ratio, "ratio", Aim::AtLeast(2.0));
        let each = 300 / self.share;
        let times = stock::pick_ups(&stock, each).await;
        report.add("postgres stock pick-up, p50", times.p50_ms(), "ms");
        report.add("postgres stock pick-up, p99", times.p99_ms(), "ms");
        for (name, working, committing) in [("sqlite", &own, &own), ("postgres", &shared, &other)] {
            let times = jobs::pick_ups(working, committing, each).await;
            report.judge(format!("{name} pick-up, p50"), times.p50_ms(), "ms", Aim::AtMost(1.0));
            report.judge(format!("{name} pick-up, p99"), times.p99_ms(), "ms", Aim::AtMost(5.0));
        }
        stock.close().await;
    }

    async fn waiting(&self, report: &mut Report) {
        let clients = 10_000 / self.share;
        let cost = waiting::measure(&self.database, clients, self.time * 2).await;
        report.judge("memory per waiting client", cost.kib_each, "KiB", Aim::AtMost(20.0));
        report.add("queries, nobody waits", cost.queries_without, "/s");
        report.add(format!("queries, {clients} wait"), cost.queries_with, "/s");
        let ratio = cost.queries_with / cost.queries_without;
        report.judge("queries, waiting : nobody", ratio, "ratio", Aim::AtMost(1.05));
    }
}

async fn open(url: &str) -> Arc<dyn Store> {
    let location: Location = url.parse().expect("our own URL");
    location.open().await.expect("the database is there")
}

/// What this program is when strace counts the syncs of its commits.
pub(crate) async fn be_writers(file: &Path, writers: usize, time: Duration) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(file).await.expect("a new file"));
    let times = commits::ours(&store, writers, time).await;
    store.close().await;
    println!("{}", times.count());
}
