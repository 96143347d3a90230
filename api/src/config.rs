//! Settings, each as a flag and an environment variable (DESIGN.md §6).

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use shared::{domain::gateway::version::Version, secret::Secret, telemetry::LogFormat};

use crate::ops::{
    events::EventsCommand,
    organization::{MemberCommand, OrganizationCommand},
    token::TokenCommand,
};

/// Registers and provisions OpenClaw gateways.
#[derive(Debug, Parser)]
#[command(name = "mission-control", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// Where everything is kept.
    #[command(flatten)]
    pub place: Place,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  mission-control serve
  mission-control token create --organization org-… --member member-…
  mission-control events verify";

/// Where everything is kept.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Folder of the database, the master key and the first token.
    #[arg(long, global = true, env = "MISSION_CONTROL_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// Database; by default `sqlite://<data dir>/mission-control.db`.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
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

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the API and a worker in this process.
    Serve(Box<Serve>),
    /// Create and list organizations.
    #[command(subcommand)]
    Organization(OrganizationCommand),
    /// Add, list, change and remove the members of an organization.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Create, list and revoke API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// List the event log, or prove that it is intact.
    #[command(subcommand)]
    Events(EventsCommand),
}

/// Settings of `serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Where the API listens.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Run no worker in this process; others must (needs `PostgreSQL`).
    #[arg(long, env = "NO_WORKER")]
    pub no_worker: bool,
    /// Where agents reach the API.
    #[arg(long, env = "BASE_URL", default_value = "http://127.0.0.1:8000")]
    pub base_url: String,
    /// The first owner's and operator's token, at least 32 characters; made and printed once when it is not set.
    #[arg(long, env = "MISSION_CONTROL_ADMIN_TOKEN", hide_env_values = true, value_parser = admin_token)]
    pub admin_token: Option<Secret>,
    /// The lowest gateway version that is taken.
    #[arg(long, env = "GATEWAY_MIN_VERSION", default_value = "2026.02.9")]
    pub gateway_min_version: Version,
    /// How often a main agent checks in; 0 writes no heartbeat.
    #[arg(long, env = "AGENT_HEARTBEAT_EVERY", default_value = "30m", value_parser = duration)]
    pub agent_heartbeat_every: Duration,
    /// Jobs at once.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub concurrency: u32,
    /// How long a request waits for its outcome before it is answered 202.
    #[arg(long, env = "SYNC_WAIT", default_value = "30s", value_parser = duration)]
    pub sync_wait: Duration,
    /// Clients that may wait at once; beyond, they are answered 202 at once.
    #[arg(long, env = "WAITING_CLIENTS_MAX", default_value_t = 10_000)]
    pub waiting_clients_max: usize,
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

fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 30s, 5m or 0"))
}

fn admin_token(text: &str) -> Result<Secret, String> {
    if text.len() < 32 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be at least 32 visible ASCII characters".to_owned());
    }
    Ok(Secret::from(text))
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

    /// The SQLite file.
    ///
    /// # Errors
    ///
    /// A sentence for a person if the URL is not one of SQLite.
    pub fn sqlite_path(&self) -> Result<PathBuf, String> {
        let Some(url) = &self.database_url else { return Ok(self.data_dir.join("mission-control.db")) };
        url.strip_prefix("sqlite://").filter(|path| !path.is_empty()).map(PathBuf::from).ok_or_else(|| {
            "DATABASE_URL must be sqlite://<file>; PostgreSQL is not supported by this version yet".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for arguments in [
            vec!["serve", "--gateway-min-version", "dev"],
            vec!["serve", "--admin-token", "short"],
            vec!["serve", "--sync-wait", "soon"],
            vec!["serve", "--concurrency", "0"],
            vec!["serve", "--deny-addresses", "everything"],
            vec!["--log-format", "xml", "serve"],
        ] {
            let line = ["mission-control"].into_iter().chain(arguments.iter().copied());
            assert!(Cli::try_parse_from(line).is_err(), "{arguments:?}");
        }
    }
}
