//! The processes that are measured: the real server, and a gateway beside it.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use harness::{
    fake_gateway::{FakeGateway, Options},
    ports::free_port,
    process::{UNLIMITED, signal},
};
use tempfile::TempDir;

use crate::http::{Ask, Http};

/// To start or to end.
const LIMIT: Duration = Duration::from_secs(40);
/// The kernel counts processor time in hundredths of a second.
const TICK: f64 = 0.01;

/// A running `mission-control serve`; killed on drop.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pid: u32,
    data: Option<TempDir>,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    /// From the start of the process to its first answer that it is ready.
    pub(crate) cold_start: Duration,
}

/// How a server is started.
#[derive(Debug, Default)]
pub(crate) struct Start<'a> {
    /// PostgreSQL; none is a SQLite file of its own.
    pub(crate) database: Option<&'a str>,
    pub(crate) settings: &'a [(&'a str, &'a str)],
    /// Counts its syncs into this file.
    pub(crate) strace: Option<&'a Path>,
    /// With the data of one that has ended.
    pub(crate) data: Option<TempDir>,
}

impl Server {
    pub(crate) async fn start(start: Start<'_>) -> Self {
        let data = start.data.unwrap_or_else(|| tempfile::tempdir().expect("a temporary folder"));
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let token = format!("bench-{}", uuid::Uuid::new_v4().simple());
        let key = data.path().join("master.key");
        if !key.exists() {
            std::fs::write(&key, "5a".repeat(32)).expect("the folder can be written");
        }
        let token_file = data.path().join("token");
        let token = std::fs::read_to_string(&token_file).unwrap_or(token);
        std::fs::write(&token_file, &token).expect("the folder can be written");
        let mut command = tool(start.strace, &server_program());
        command
            .arg("serve")
            .env_clear()
            .envs(start.database.map(|url| ("DATABASE_URL", url)))
            .env("MISSION_CONTROL_DATA_DIR", data.path())
            .env("MISSION_CONTROL_ADMIN_TOKEN", &token)
            .env("LISTEN_ADDR", address.to_string())
            .env("RUST_LOG", "error")
            .envs(UNLIMITED)
            .env("MONITOR_INTERVAL", "0")
            .env("WAKE_ATTEMPTS", "0")
            .envs(start.settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let started = Instant::now();
        let child = command.spawn().expect("the server can be started");
        let mut server =
            Self { pid: child.id(), child, data: Some(data), address, token, cold_start: Duration::ZERO };
        server.ready(started).await;
        server.cold_start = started.elapsed();
        if start.strace.is_some() {
            server.pid = only_child(server.pid);
        }
        server
    }

    async fn ready(&self, started: Instant) {
        loop {
            assert!(started.elapsed() < LIMIT, "the server is not ready");
            if let Ok(mut http) = self.connect().await {
                let asked = http.ask(Ask { method: "GET", path: "/readyz", header: "", body: "" }).await;
                if asked.0 == 200 {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        self.data.as_ref().expect("it is taken when the server stops").path()
    }

    pub(crate) async fn connect(&self) -> std::io::Result<Http> {
        Http::connect(self.address, &self.token).await
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN)
    }

    /// Processor time so far, in seconds.
    pub(crate) fn processor_seconds(&self) -> f64 {
        processor_seconds(self.pid)
    }

    /// SIGTERM; its data for another start.
    pub(crate) fn stop(mut self) -> TempDir {
        let id = self.pid.to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "the server still runs");
        let ended = self.child.wait().expect("the server ends");
        assert!(ended.success(), "the server ended with {ended}");
        self.data.take().expect("nobody else took it")
    }
}

fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * TICK
}

/// A program, or strace counting the syncs of it.
pub(crate) fn tool(strace: Option<&Path>, program: &Path) -> Command {
    let Some(file) = strace else { return Command::new(program) };
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "--seccomp-bpf", "-e", "trace=fdatasync,fsync", "-o"]).arg(file).arg(program);
    command
}

/// The process that strace started.
pub(crate) fn only_child(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("strace has a child")
}

/// Syncs that strace counted.
pub(crate) fn syncs(file: &Path) -> f64 {
    let text = std::fs::read_to_string(file).expect("strace wrote its counts");
    let is_sync = |line: &&str| line.ends_with("fdatasync") || line.ends_with("fsync");
    let count = |line: &str| line.split_whitespace().nth(3).and_then(|calls| calls.parse::<f64>().ok());
    text.lines().filter(is_sync).filter_map(count).sum()
}

/// The server beside this program, built as this one was.
pub(crate) fn server_program() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let build = || {
        let own = std::env::current_exe().expect("this program knows where it is");
        let folder = own.parent().expect("a program lies in a folder");
        let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
        command.args(["build", "--locked", "--workspace", "--bin", "mission-control"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        for (variable, _) in std::env::vars_os() {
            if variable
                .to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
            {
                command.env_remove(variable);
            }
        }
        let built = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.is_ok_and(|built| built.success()), "the server does not build");
        folder.join("mission-control")
    };
    BUILT.get_or_init(build).clone()
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway in a process of its own, so that what it costs is not taken for ours. It forgets everything with each
/// connection: one that fills up would be what is measured.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    /// `ws://127.0.0.1:port`.
    pub(crate) url: String,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        let own = std::env::current_exe().expect("this program knows where it is");
        let mut child = Command::new(own)
            .arg("gateway")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway can be started");
        let mut url = String::new();
        let output = child.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut url).expect("it prints its address");
        Self { child, url: url.trim().to_owned() }
    }

    pub(crate) fn processor_seconds(&self) -> f64 {
        processor_seconds(self.child.id())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        signal(&self.child, "KILL");
        let _ = self.child.wait();
    }
}

/// What the gateway's process does until its input ends.
pub(crate) async fn be_a_gateway() {
    let options = Options { forgets: true, chatty: false, shuffle: false, ..Options::default() };
    let gateway = FakeGateway::start(options).await;
    println!("{}", gateway.url());
    let until_eof =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ = until_eof.await;
}
