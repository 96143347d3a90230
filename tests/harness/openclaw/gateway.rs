//! A real gateway: started, asked, stopped, started again.

use std::{
    fs::{self, File, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    Auth, Client, Held, Options, Refused,
    install::{Installed, installed, note},
    process::{Process, Slot, slot, two_slots},
};

/// From the start of the process to an answered handshake; a cold start beside another took 45 s.
const READY_LIMIT: Duration = Duration::from_mins(4);
/// From the first message to the end of the run that it starts.
const RUN_LIMIT: Duration = Duration::from_mins(1);
/// Ports the system gives to nobody by itself, so that nothing takes one between our look and the gateway's.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How much of the log a failed test shows.
const LOG_LINES_SHOWN: usize = 80;

/// A gateway of its own. Dropping it kills it; if the test fails, its log is shown.
#[derive(Debug)]
pub struct Gateway {
    options: Options,
    folder: TempDir,
    port: u16,
    slot: Slot,
    installed: Installed,
    process: Option<Process>,
    starts: usize,
}

impl Gateway {
    /// Installs it where needed, waits for its turn, and starts it on a free port.
    ///
    /// # Panics
    ///
    /// Without npm, or when it does not answer a handshake in time.
    pub async fn start(options: Options) -> Self {
        let installed = installed(options.version).await;
        Self::start_in(slot().await, installed, options).await
    }

    /// Two at once, one after the other.
    ///
    /// # Panics
    ///
    /// As for [`Self::start`].
    pub async fn start_two(first: Options, second: Options) -> (Self, Self) {
        let installs = (installed(first.version).await, installed(second.version).await);
        let slots = two_slots().await;
        let first = Self::start_in(slots.0, installs.0, first).await;
        (first, Self::start_in(slots.1, installs.1, second).await)
    }

    async fn start_in(slot: Slot, installed: Installed, options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["home", "home/workspaces", "tmp", "state"] {
            fs::create_dir(folder.path().join(name)).expect("a temporary folder can be written");
        }
        let port = free_port();
        let mut gateway = Self { options, folder, port, slot, installed, process: None, starts: 0 };
        let config = gateway.options.config(gateway.folder.path(), port).to_string();
        fs::write(gateway.path("openclaw.json"), config).expect("a temporary folder can be written");
        gateway.start_again().await;
        gateway
    }

    /// Starts a stopped one: same port, same state.
    ///
    /// # Panics
    ///
    /// When it does not answer a handshake in time.
    pub async fn start_again(&mut self) {
        let started = Instant::now();
        self.launch();
        let until = started + READY_LIMIT;
        while let Err(refused) = self.try_client().await {
            let ended = self.process.as_mut().and_then(Process::ended);
            assert!(ended.is_none(), "the gateway ended before it was ready, its supervisor with {ended:?}");
            assert!(!refused.is_final(), "the gateway refuses the harness: {refused}");
            assert!(Instant::now() < until, "the gateway is not ready in time: {refused}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        note(&format!("{} is ready after {:.1} s", self.name(), started.elapsed().as_secs_f64()));
    }

    /// Starts a stopped one and does not wait until it is ready.
    ///
    /// # Panics
    ///
    /// When it runs already.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let process =
            Process::start(&self.installed, self.folder.path(), self.port, self.log_file(), &self.slot);
        self.process = Some(process);
        self.starts += 1;
    }

    /// SIGTERM, and SIGKILL where that is not enough. It can be started again.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub async fn stop(&mut self) {
        self.process.take().expect("it runs").stop().await;
    }

    /// SIGKILL, as a power cut would. It can be started again.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn kill(&mut self) {
        drop(self.process.take().expect("it runs"));
    }

    /// Where it listens, past any [`super::Proxy`].
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme(), self.port)
    }

    /// `ws` or `wss`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.options.tls { "wss" } else { "ws" }
    }

    /// Its port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How it was set up.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A folder on its host where agents may have their workspaces. It lies in the home of the gateway's user: elsewhere
    /// 2026.6.11 leaves a deleted agent's workspace in place.
    #[must_use]
    pub fn workspace_root(&self) -> PathBuf {
        self.path("home/workspaces")
    }

    /// A path in the folder that holds all it has.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a client must show to be let in.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        (self.options.auth != Auth::None).then_some(self.options.secret.as_str())
    }

    /// Gives a stopped one another token or password.
    ///
    /// # Panics
    ///
    /// When its configuration cannot be written.
    pub fn change_secret(&mut self, secret: &str) {
        let path = self.path("openclaw.json");
        let config = fs::read_to_string(&path).expect("its configuration can be read");
        let config = config.replace(&self.options.secret, secret);
        fs::write(&path, config).expect("its configuration can be written");
        secret.clone_into(&mut self.options.secret);
    }

    /// A client of its own, with full rights.
    ///
    /// # Panics
    ///
    /// When it is not let in.
    pub async fn client(&self) -> Client {
        self.try_client().await.unwrap_or_else(|refused| panic!("no connection to the gateway: {refused}"))
    }

    /// What it holds now. Read again from the start if it restarts meanwhile.
    ///
    /// # Panics
    ///
    /// When it refuses to tell, or restarts again and again.
    pub async fn held(&self) -> Held {
        let until = Instant::now() + RUN_LIMIT;
        loop {
            let read = match self.try_client().await {
                Ok(mut client) => Held::read(&mut client).await,
                Err(refused) => Err(refused),
            };
            match read {
                Ok(held) => return held,
                Err(Refused::Gone(_)) if Instant::now() < until => {}
                Err(refused) if !refused.is_final() && Instant::now() < until => {}
                Err(refused) => panic!("it does not tell what it holds: {refused}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_client(&self) -> Result<Client, Refused> {
        Client::connect(self.port, &self.options).await
    }

    /// How often it went away and came back by itself: its log tells each time that it began to listen.
    #[must_use]
    pub fn restarts(&self) -> usize {
        let log = self.log();
        let listens = |line: &&str| {
            line.contains("http server listening")
                || line.contains("listening on ws") && line.contains("127.0.0.1")
        };
        log.lines().filter(listens).count() - self.starts
    }

    /// How often the agent was set to work, as the log tells it: each run ends with a line, here with the failure that
    /// no model can be reached.
    #[must_use]
    pub fn runs_of(&self, agent_id: &str) -> usize {
        let lane = format!("lane=session:agent:{agent_id}:main ");
        self.log().lines().filter(|line| line.contains(&lane)).count()
    }

    /// Waits for the end of the agent's first run.
    ///
    /// # Panics
    ///
    /// When there is none within a minute.
    pub async fn until_run_of(&self, agent_id: &str) {
        let until = Instant::now() + RUN_LIMIT;
        while self.runs_of(agent_id) == 0 {
            assert!(Instant::now() < until, "{agent_id} is not set to work");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Everything that it printed since its first start.
    ///
    /// # Panics
    ///
    /// When the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("gateway.log")).expect("the log can be read"))
            .into_owned()
    }

    fn name(&self) -> String {
        format!("openclaw {} on port {}", self.options.version.number(), self.port)
    }

    fn log_file(&self) -> File {
        let path: &Path = &self.path("gateway.log");
        OpenOptions::new().create(true).append(true).open(path).expect("a temporary folder can be written")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.take());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
            note(&format!("the log of {} ends:", self.name()));
            lines.iter().skip(shown).for_each(|line| note(line));
        }
    }
}

fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let random = || u16::try_from(uuid::Uuid::new_v4().as_u128() % u128::from(PORTS.end - PORTS.start));
    let ports = std::iter::repeat_with(|| PORTS.start + random().expect("it is below the range's length"));
    ports.take(100).find(|port| is_free(*port)).expect("one of 100 ports is free")
}
