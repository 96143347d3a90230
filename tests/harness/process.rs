//! The real programs as processes of their own, for what only a process can show: signals, crashes, logs.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use shared::secret::Secret;

/// Builds a program of the workspace as it is when it is first asked for, and tells where it is.
///
/// To measure another build, the environment variable `MEASURED_PROGRAMS` names the folder of programs that are there
/// already.
///
/// # Panics
///
/// If it does not build.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    if let Some(folder) = std::env::var_os("MEASURED_PROGRAMS") {
        return PathBuf::from(folder).join(name);
    }
    let mut programs = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = programs.get(name) {
        return program.clone();
    }
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--workspace", "--bin", name]).current_dir(root);
    // What cargo tells a test about its package would make build scripts run again, and all that follows them.
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(is_of_package) {
            command.env_remove(variable);
        }
    }
    let built = command.output().expect("cargo can be run");
    assert!(built.status.success(), "{name} does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    // A test lies in the folder `deps` beside the programs; a program lies among them.
    let own = std::env::current_exe().expect("a program knows where it is");
    let folder = own.parent().expect("a program lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    programs.entry(name.to_owned()).or_insert(folder.join(name)).clone()
}

fn is_of_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}

/// Settings without which a test, or a measurement, would be held up for asking as fast as it can.
pub const UNLIMITED: [(&str, &str); 3] =
    [("RATE_LIMIT_TOKEN", "0"), ("RATE_LIMIT_ADDRESS", "0"), ("RATE_LIMIT_ATTEMPTS", "0")];

/// A running `mission-control serve`; killed on drop.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:port`.
    pub base: String,
    /// The data directory.
    pub data: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts `serve` on this data directory and a free port, with everything logged to `<data>/log`, and waits until
    /// it is ready.
    ///
    /// # Panics
    ///
    /// If it does not start, with its log.
    #[must_use]
    pub async fn start(data: &Path, environment: &[(&str, &str)]) -> Self {
        let port = crate::ports::free_port();
        let base = format!("http://127.0.0.1:{port}");
        let log = data.join("log");
        std::fs::create_dir_all(data).expect("the data directory can be made");
        let lines = || File::options().create(true).append(true).open(&log).expect("the log can be written");
        let child = Command::new(program("mission-control"))
            .args(["--data-dir", &data.display().to_string(), "serve"])
            .env_clear()
            .env("LISTEN_ADDR", format!("127.0.0.1:{port}"))
            .env("BASE_URL", &base)
            .env("RUST_LOG", "trace")
            .envs(UNLIMITED)
            .env("MONITOR_INTERVAL", "0")
            .env("WAKE_ATTEMPTS", "0")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(lines())
            .stderr(lines())
            .spawn()
            .expect("the server can be started");
        let server = Self { child, base, data: data.to_owned(), log };
        server.ready().await;
        server
    }

    async fn ready(&self) {
        let started = Instant::now();
        let client = reqwest::Client::new();
        while started.elapsed() < Duration::from_secs(30) {
            let ready = client.get(format!("{}/readyz", self.base)).send().await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the server is not ready after 30 s:\n{}", self.log());
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The token that the first start made.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn token(&self) -> Secret {
        let text =
            std::fs::read_to_string(self.data.join("admin-token")).expect("the first start made a token");
        Secret::from(text.trim())
    }

    /// SIGKILL.
    ///
    /// # Panics
    ///
    /// If it had ended before.
    pub fn kill(mut self) {
        self.child.kill().expect("the server still ran");
        self.child.wait().expect("the server has ended");
    }

    /// SIGTERM, and the exit code.
    ///
    /// # Panics
    ///
    /// If it does not end within 30 s.
    pub async fn terminate(mut self) -> Option<i32> {
        signal(&self.child, "TERM");
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait().expect("the server can be waited for") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the server still runs 30 s after SIGTERM:\n{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by its name.
///
/// # Panics
///
/// If there is no `kill`.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(sent.expect("kill can be run").success());
}

/// What a sub-command said.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a sub-command of `mission-control` on a data directory.
///
/// # Panics
///
/// If it cannot be run.
#[must_use]
pub fn mission_control(data: &Path, arguments: &[&str]) -> Said {
    said(&mut sub_command(data, &[], arguments))
}

/// A sub-command of `mission-control` on a data directory, with nothing but this in its environment.
#[must_use]
pub fn sub_command(data: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(program("mission-control"));
    command
        .args(["--data-dir", &data.display().to_string()])
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
///
/// # Panics
///
/// If it cannot be run.
#[must_use]
pub fn said(command: &mut Command) -> Said {
    Said::of(&command.output().expect("the command can be run"))
}

/// Runs a sub-command of `mission-control-worker` with this environment, and this on its standard input.
///
/// # Panics
///
/// If it cannot be run.
#[must_use]
pub fn mission_control_worker(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Said {
    let mut child = Command::new(program("mission-control-worker"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be run");
    let mut stdin = child.stdin.take().expect("its input is ours");
    // One that does not read it has ended with an error, which its exit code tells.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    Said::of(&child.wait_with_output().expect("the command can be waited for"))
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}
