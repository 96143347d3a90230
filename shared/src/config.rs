//! Settings that both programs have, each as a flag and an environment variable (DESIGN.md §6).

use std::{path::PathBuf, time::Duration};

use clap::Args;
use ipnet::IpNet;

use crate::{
    domain::gateway::version::Version,
    secret::Secret,
    store::{Location, StoreError},
    telemetry::LogFormat,
};

/// Where everything is kept, and what is logged.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Folder of the database, the master key and the first token.
    #[arg(long, global = true, env = "MISSION_CONTROL_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// Database: `sqlite://<file>` or `postgres://…`; by default `sqlite://<data dir>/mission-control.db`.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// File that holds the password for `DATABASE_URL` (PostgreSQL), in place of one in the URL.
    #[arg(long, global = true, env = "DATABASE_PASSWORD_FILE")]
    pub database_password_file: Option<PathBuf>,
    /// File of the master key, 64 hex digits; by default `<data dir>/master.key`.
    #[arg(long, global = true, env = "MISSION_CONTROL_MASTER_KEY_FILE")]
    pub master_key_file: Option<PathBuf>,
    /// `text` or `json`.
    #[arg(long, global = true, env = "LOG_FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
    /// Which log lines are shown; dependencies are capped at `info`.
    #[arg(long, global = true, env = "RUST_LOG", default_value = "info")]
    pub log_filter: String,
}

/// How a worker does its work, in whichever program it runs.
#[derive(Debug, Clone, Args)]
pub struct Work {
    /// Where agents reach the API.
    #[arg(long, env = "BASE_URL", default_value = "http://127.0.0.1:8000")]
    pub base_url: String,
    /// The lowest gateway version that is taken.
    #[arg(long, env = "GATEWAY_MIN_VERSION", default_value = "2026.02.9")]
    pub gateway_min_version: Version,
    /// How often a main agent checks in; 0 writes no heartbeat.
    #[arg(long, env = "AGENT_HEARTBEAT_EVERY", default_value = "30m", value_parser = duration)]
    pub agent_heartbeat_every: Duration,
    /// How often each registered gateway is probed, at least 1 s; 0 = never.
    #[arg(long, env = "MONITOR_INTERVAL", default_value = "60s", value_parser = interval)]
    pub monitor_interval: Duration,
    /// How often a main agent that does not check in is woken again, each time a model run on the gateway, before it counts
    /// as offline; 0 = never, and nobody waits for it.
    #[arg(long, env = "WAKE_ATTEMPTS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=10))]
    pub wake_attempts: u32,
    /// How long a check-in is waited for after a wake.
    #[arg(long, env = "CHECK_IN_WAIT", default_value = "30s", value_parser = duration)]
    pub check_in_wait: Duration,
    /// Folder of the operator's own templates of the agents' files, for example `SOUL.md.j2`.
    #[arg(long, env = "TEMPLATES_DIR")]
    pub templates_dir: Option<PathBuf>,
    /// Jobs at once.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub concurrency: u32,
    /// How long running requests and jobs may take to end after SIGTERM.
    #[arg(long, env = "SHUTDOWN_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub shutdown_timeout: Duration,
    /// Whether loopback and private addresses may be dialled.
    #[arg(long, env = "ALLOW_PRIVATE_ADDRESSES", default_value_t = true, action = clap::ArgAction::Set)]
    pub allow_private_addresses: bool,
    /// CIDRs that are never dialled.
    #[arg(long, env = "DENY_ADDRESSES", value_delimiter = ',')]
    pub deny_addresses: Vec<IpNet>,
    /// CIDRs outside of which nothing is dialled.
    #[arg(long, env = "ALLOW_ADDRESSES", value_delimiter = ',')]
    pub allow_addresses: Vec<IpNet>,
}

/// Reads a duration such as `30s`, `5m` or `0`.
///
/// # Errors
///
/// A sentence for a person.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 30s, 5m or 0"))
}

/// Reads a duration that is zero or at least a second.
///
/// # Errors
///
/// A sentence for a person.
pub fn interval(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() || time >= Duration::from_secs(1) {
        Ok(time)
    } else {
        Err("at least 1s, or 0 for never".to_owned())
    }
}

impl Place {
    /// How log lines look.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        if self.log_format == "json" { LogFormat::Json } else { LogFormat::Text }
    }

    /// The master key's file.
    #[must_use]
    pub fn master_key_path(&self) -> PathBuf {
        self.master_key_file.clone().unwrap_or_else(|| self.data_dir.join("master.key"))
    }

    /// The database.
    ///
    /// # Errors
    ///
    /// [`StoreError::Setting`] if the URL names none, or two passwords are given, and [`StoreError::File`] if the password
    /// cannot be read; neither repeats URL or password.
    pub fn location(&self) -> Result<Location, StoreError> {
        let Some(url) = &self.database_url else {
            return Ok(Location::Sqlite(self.data_dir.join("mission-control.db")));
        };
        let location: Location = url.parse()?;
        let Some(path) = &self.database_password_file else { return Ok(location) };
        let text = std::fs::read_to_string(path).map_err(|error| StoreError::File {
            path: path.display().to_string(),
            problem: format!("the database's password cannot be read: {error}"),
        })?;
        location.with_password(&Secret::from(text.trim_end_matches(['\r', '\n'])))
    }
}

/// Lets the process have as many open files and connections as the system allows it.
pub fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!(files, "file limit"),
        Err(error) => {
            tracing::warn!(
                error = crate::chain::chain(&error),
                "the limit of open files could not be raised"
            );
        }
    }
}

/// Waits for SIGTERM or SIGINT.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be listened for; only SIGKILL stops this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
