//! The log as a tool, at a million events: proof, rebuild and export as real processes, against a raw ordered scan of the
//! same rows; and how long reads take while the read models are made again.

mod fill;
mod scan;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use scan::scan;
use shared::store::Location;
use tokio::time::sleep;

use crate::{
    database::Database,
    http::Http,
    numbers::Times,
    processes::{Server, Start, server_program},
    report::{Aim, Report},
};

/// Clients that read while the read models are made again, and their pause between two reads: busy, not overrun.
const READERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);

/// How long they read before it counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long they read alone, before and after: with a second of each the 99th percentile says nothing.
const IDLE: Duration = Duration::from_secs(6);

/// A sub-command and how fast it should be, to a raw scan.
const TOOLS: [(&str, &[&str], Option<Aim>); 4] = [
    ("verify", &["events", "verify"], Some(Aim::AtLeast(0.7))),
    ("rebuild --fast", &["projections", "rebuild", "--fast"], Some(Aim::AtLeast(0.4))),
    ("export", &["events", "export"], None),
    ("export, cloudevents", &["events", "export", "--format", "cloudevents"], None),
];

/// Measures everything on a SQLite file and on a PostgreSQL database with so many events.
pub(crate) async fn measure(server: &Database, events: u64, report: &mut Report) {
    let url = server.new_database().await;
    for (name, database) in [("sqlite", None), ("postgres", Some(url.as_str()))] {
        let founded = Server::start(Start { database, ..Start::default() }).await;
        let data = founded.stop();
        let file = data.path().join("mission-control.db");
        let location =
            database.map_or_else(|| Location::Sqlite(file.clone()), |url| url.parse().expect("our own URL"));

        let store = location.open().await.expect("the database is there");
        let started = Instant::now();
        let made = fill::fill(&store, events).await;
        store.close().await;
        report.add(format!("{name} log, events"), made, "");
        report.add(format!("{name} log, made"), made / started.elapsed().as_secs_f64(), "/s");

        // The first scan finds what the database still has to tidy up after the writes; nobody is measured by that.
        scan(&file, database).await;
        let scanned = scan(&file, database).await.min(scan(&file, database).await);
        report.add(format!("{name} log, raw scan"), made / scanned.as_secs_f64(), "/s");
        for (what, arguments, aim) in TOOLS {
            let ran = Tool::start(data.path(), database, arguments).end().await;
            report.add(format!("{name} log, {what}"), made / ran.time.as_secs_f64(), "/s");
            let ratio = scanned.as_secs_f64() / ran.time.as_secs_f64();
            report.put(format!("{name} log, {what} : raw scan"), ratio, "ratio", aim);
            report.judge(format!("{name} log, {what}, memory"), ran.memory_mib, "MiB", Aim::AtMost(100.0));
        }

        let server = Server::start(Start { database, data: Some(data), ..Start::default() }).await;
        let reads = reads(&server, database).await;
        report.add(format!("{name} log, reads, p99"), reads.idle.p99_ms(), "ms");
        report.add(format!("{name} log, reads in a rebuild, p99"), reads.rebuild.p99_ms(), "ms");
        let ratio = reads.rebuild.p99_ms() / reads.idle.p99_ms();
        report.judge(format!("{name} log, reads in a rebuild : idle, p99"), ratio, "ratio", Aim::AtMost(1.3));
        report.add(format!("{name} log, rebuild beside the reads"), made / reads.rebuilt.as_secs_f64(), "/s");
        report.add(format!("{name} log, longest commit in a rebuild --fast"), reads.longest_commit_ms, "ms");
        server.stop();
    }
}

/// A sub-command as a process.
struct Tool {
    child: Child,
    started: Instant,
}

/// What it took.
struct Ran {
    time: Duration,
    memory_mib: f64,
}

impl Tool {
    fn start(data: &Path, database: Option<&str>, arguments: &[&str]) -> Self {
        let mut command = Command::new(server_program());
        command
            .args(arguments)
            .env_clear()
            .envs(database.map(|url| ("DATABASE_URL", url)))
            .env("MISSION_CONTROL_DATA_DIR", data)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self { started: Instant::now(), child: command.spawn().expect("the sub-command can be started") }
    }

    /// Waits for its end, which must be a success.
    async fn end(mut self) -> Ran {
        let mut memory_mib = 0.0;
        loop {
            memory_mib = peak_mib(self.child.id()).unwrap_or(memory_mib);
            if let Some(ended) = self.child.try_wait().expect("it can be waited for") {
                assert!(ended.success(), "the sub-command ended with {ended}");
                return Ran { time: self.started.elapsed(), memory_mib };
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The most memory that a process ever had; `None` once it has ended.
fn peak_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok().map(|kib: f64| kib / 1_024.0)
}

struct Reads {
    idle: Times,
    rebuild: Times,
    rebuilt: Duration,
    longest_commit_ms: f64,
}

/// Reads of registered gateways without and with a rebuild beside them. Each must be answered 200.
async fn reads(server: &Server, database: Option<&str>) -> Reads {
    let mut http = server.connect().await.expect("the server takes connections");
    let listed: serde_json::Value =
        serde_json::from_slice(&http.get("/api/v1/gateways?limit=100").await).expect("a list is JSON");
    let paths: Vec<String> = listed["items"]
        .as_array()
        .expect("a list has items")
        .iter()
        .map(|item| format!("/api/v1/gateways/{}", item["id"].as_str().unwrap_or_default()))
        .collect();
    read_until(server, &paths, sleep(WARM_UP)).await;
    let began = Instant::now();
    let mut idle = read_until(server, &paths, sleep(IDLE)).await;
    let tool = Tool::start(server.data(), database, &["projections", "rebuild"]);
    let mut length = Duration::ZERO;
    let rebuild = read_until(server, &paths, async { length = tool.end().await.time }).await;
    // Before it and after it: what is idle differs from one half minute to the next by as much as is asked about.
    idle.extend(read_until(server, &paths, sleep(IDLE)).await);
    let (idle, rebuild) = (Times::new(idle, began.elapsed()), Times::new(rebuild, length));
    let tool = Tool::start(server.data(), database, &["projections", "rebuild", "--fast"]);
    let longest_commit_ms = commit_until(server, tool.end()).await;
    Reads { idle, rebuild, rebuilt: length, longest_commit_ms }
}

/// A registration every 20 ms, answered when it is recorded; the longest of them.
async fn commit_until<T>(server: &Server, end: impl Future<Output = T>) -> f64 {
    let mut end = std::pin::pin!(end);
    let mut http = server.connect().await.expect("the server takes connections");
    let mut longest = Duration::ZERO;
    loop {
        let before = Instant::now();
        let body = serde_json::json!({
            "name": "x", "url": "ws://127.0.0.1:1", "workspace_root": "/ws", "allow_insecure_tls": false,
        });
        let (status, _) = http.post("/api/v1/gateways", "prefer: respond-async\r\n", &body).await;
        assert_eq!(status, 202, "it is recorded");
        longest = longest.max(before.elapsed());
        tokio::select! {
            _ = &mut end => return longest.as_secs_f64() * 1_000.0,
            () = sleep(Duration::from_millis(20)) => {}
        }
    }
}

async fn read_until<T>(server: &Server, paths: &[String], end: impl Future<Output = T>) -> Vec<Duration> {
    let stop = tokio_util::sync::CancellationToken::new();
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (stop, paths) = (stop.clone(), paths.to_vec());
            let (address, token) = (server.address, server.token.clone());
            tokio::spawn(async move {
                let mut http = Http::connect(address, &token).await.expect("the server takes connections");
                let mut each = vec![];
                for path in paths.iter().cycle().skip(reader * 7) {
                    let before = Instant::now();
                    http.get(path).await;
                    each.push(before.elapsed());
                    if stop.is_cancelled() {
                        break;
                    }
                    sleep(PAUSE).await;
                }
                each
            })
        })
        .collect();
    end.await;
    stop.cancel();
    let mut each = vec![];
    for reader in readers {
        each.extend(reader.await.expect("every read is answered"));
    }
    each
}
