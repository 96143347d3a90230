//! A fleet as an operator has it: real programs as processes of their own, on one `PostgreSQL` database.

mod client;
mod crowd;

pub use client::Client;
pub use crowd::{Crowd, assert_registered_once};

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use shared::secret::Secret;
use tempfile::TempDir;

use crate::{
    ports::free_port,
    process::{UNLIMITED, program, signal},
};

/// To start, to answer or to end: far more than any of it takes.
const LIMIT: Duration = Duration::from_secs(40);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What the processes of one installation share: the database, the master key, and the first owner's token.
#[derive(Debug)]
pub struct Fleet {
    database_url: String,
    folder: TempDir,
    /// The first owner's token.
    pub owner: Secret,
}

impl Fleet {
    /// Of this database; nothing runs yet.
    #[must_use]
    pub fn on(database_url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        std::fs::write(folder.path().join("master.key"), key).expect("a file in the temporary folder");
        let owner = shared::token::api();
        Self { database_url: database_url.to_owned(), folder, owner }
    }

    /// The same key and owner, for another database.
    #[must_use]
    pub fn on_another(self, database_url: &str) -> Self {
        Self { database_url: database_url.to_owned(), ..self }
    }

    /// Where the master key is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `mission-control` with these arguments, on this installation.
    #[must_use]
    pub fn mission_control(&self, arguments: &[&str]) -> Command {
        self.command(program("mission-control"), arguments)
    }

    /// `mission-control serve`, not started yet.
    #[must_use]
    pub fn api(&self, name: &str, settings: &[(&'static str, &str)]) -> Process {
        self.process(name, program("mission-control"), (&["serve"], "LISTEN_ADDR"), settings)
    }

    /// `mission-control-worker`, not started yet.
    #[must_use]
    pub fn worker(&self, name: &str, settings: &[(&'static str, &str)]) -> Process {
        let program = program("mission-control-worker");
        self.process(name, program, (&[], "WORKER_LISTEN_ADDR"), settings)
    }

    fn process(
        &self,
        name: &str,
        program: PathBuf,
        (arguments, listen): (&[&str], &'static str),
        settings: &[(&'static str, &str)],
    ) -> Process {
        let address = format!("127.0.0.1:{}", free_port());
        let base = format!("http://{address}");
        let mut command = self.command(program, arguments);
        command
            .env(listen, address)
            .env("BASE_URL", "http://127.0.0.1:8000")
            .env("MISSION_CONTROL_ADMIN_TOKEN", self.owner.expose())
            // What acts by itself is for the tests that look at it.
            .env("MONITOR_INTERVAL", "0")
            .env("WAKE_ATTEMPTS", "0")
            .envs(settings.iter().copied());
        let log = self.folder.path().join(format!("{name}.log"));
        Process::of(name, command, base, log)
    }

    fn command(&self, program: PathBuf, arguments: &[&str]) -> Command {
        let folder: &Path = self.folder.path();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", &self.database_url)
            .env("MISSION_CONTROL_DATA_DIR", folder)
            .env("MISSION_CONTROL_MASTER_KEY_FILE", folder.join("master.key"))
            .env("RUST_LOG", "info")
            .envs(UNLIMITED)
            .stdin(Stdio::null());
        command
    }
}

/// Short, so that a process that hangs is noticed.
fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy();
    builder.build().expect("an HTTP client can be made")
}

/// A process of a fleet that can be ended in every way and started again on the same address; killed on drop.
#[derive(Debug)]
pub struct Process {
    /// For messages.
    pub name: String,
    /// `http://127.0.0.1:port`: the API, or a worker's health.
    pub base: String,
    command: Command,
    log: PathBuf,
    child: Option<Child>,
    id: u32,
    http: reqwest::Client,
}

impl Process {
    /// A command that was put together elsewhere, not started yet. `base` is where it answers.
    #[must_use]
    pub fn of(name: &str, command: Command, base: String, log: PathBuf) -> Self {
        Self { name: name.to_owned(), command, base, log, child: None, id: 0, http: client() }
    }

    /// Starts it, and returns at once.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log).expect("the log can be written");
        let errors = log.try_clone().expect("the log can be written");
        let child = self.command.stdout(log).stderr(errors).spawn();
        let child = child.expect("the program can be started");
        self.id = child.id();
        self.child = Some(child);
    }

    /// Its process id, or that of its last life.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Status of an answer to this path; `None` if there is none.
    pub async fn status(&self, path: &str) -> Option<u16> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    /// Waits until this path is answered so, and tells how long that took.
    pub async fn until(&self, path: &str, status: u16) -> Duration {
        let started = Instant::now();
        let mut last = None;
        while started.elapsed() < LIMIT {
            last = self.status(path).await;
            if last == Some(status) {
                return started.elapsed();
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("{}: {path} is answered {last:?}, not {status}:\n{}", self.name, self.log());
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        self.until("/readyz", 200).await;
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("it can be waited for").is_none())
    }

    /// How it ended, of a process that did.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it was started");
        child.wait().expect("it has ended")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it was started");
        child.kill().expect("it still ran");
        child.wait().expect("it has ended");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        signal(self.child.as_ref().expect("it was started"), "TERM");
    }

    /// SIGSTOP: it does nothing, and nobody is told.
    pub fn stop(&self) {
        signal(self.child.as_ref().expect("it was started"), "STOP");
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub fn go_on(&self) {
        signal(self.child.as_ref().expect("it was started"), "CONT");
    }

    /// Waits until it has ended, and returns its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let started = Instant::now();
        let mut child = self.child.take().expect("it was started");
        while started.elapsed() < LIMIT {
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            tokio::time::sleep(LOOK).await;
        }
        self.child = Some(child);
        panic!("{} has not ended:\n{}", self.name, self.log());
    }

    /// Everything it has logged, in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only if it has ended already.
            let _ = child.kill();
            let _: Result<ExitStatus, _> = child.wait();
        }
    }
}
