//! Settings, each as a flag and an environment variable (DESIGN.md §6).

pub mod access;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use shared::{
    config::{Place, Work, duration},
    secret::Secret,
};

use self::access::Access;
use crate::ops::{
    doctor::Doctor,
    events::EventsCommand,
    jobs::JobsCommand,
    key::KeyCommand,
    operations::OperationsCommand,
    organization::{MemberCommand, OrganizationCommand},
    projections::ProjectionsCommand,
    queue::QueueCommand,
    replay::Replay,
    token::TokenCommand,
    workers::WorkersCommand,
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

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the API and a worker in this process.
    Serve(Box<Serve>),
    /// Bring the schema of the database up to date, and end. `serve` and workers do it by themselves, too.
    Migrate,
    /// Create and list organizations.
    #[command(subcommand)]
    Organization(OrganizationCommand),
    /// Add, list, change and remove the members of an organization.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Create, list and revoke API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show and rotate the master key.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Follow, list, prove and export the event log.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Print the state of a stream after each of its events.
    Replay(Replay),
    /// List and show operations.
    #[command(subcommand)]
    Operations(OperationsCommand),
    /// List, explain and change what is still to do.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Pause and resume the queue.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// List the processes that run jobs, and let one drain.
    #[command(subcommand)]
    Workers(WorkersCommand),
    /// Compare the read models with the log, or make them again.
    #[command(subcommand)]
    Projections(ProjectionsCommand),
    /// Look at everything that an operator looks at first.
    Doctor(Doctor),
}

/// Settings of `serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Where the API listens.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Run no worker in this process; `mission-control-worker` runs the jobs then (PostgreSQL).
    #[arg(long, env = "NO_WORKER")]
    pub no_worker: bool,
    /// The first owner's and operator's token, at least 32 characters; made and printed once when it is not set.
    #[arg(long, env = "MISSION_CONTROL_ADMIN_TOKEN", hide_env_values = true, value_parser = admin_token)]
    pub admin_token: Option<Secret>,
    /// File that holds that token, in place of the setting.
    #[arg(long, env = "MISSION_CONTROL_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// How long a request waits for its outcome before it is answered 202.
    #[arg(long, env = "SYNC_WAIT", default_value = "30s", value_parser = duration)]
    pub sync_wait: Duration,
    /// Clients that may wait at once; beyond, they are answered 202 at once.
    #[arg(long, env = "WAITING_CLIENTS_MAX", default_value_t = 10_000)]
    pub waiting_clients_max: usize,
    /// Who may ask, how often, and from where.
    #[command(flatten)]
    pub access: Access,
    /// Of the worker in this process.
    #[command(flatten)]
    pub work: Work,
}

impl Serve {
    /// The first owner's and operator's token, if one is given.
    ///
    /// # Errors
    ///
    /// A sentence for a person: two are given, the file cannot be read, or it holds none.
    pub fn first_token(&self) -> Result<Option<Secret>, String> {
        let Some(path) = &self.admin_token_file else { return Ok(self.admin_token.clone()) };
        if self.admin_token.is_some() {
            let both = "MISSION_CONTROL_ADMIN_TOKEN and MISSION_CONTROL_ADMIN_TOKEN_FILE are both set; leave one out";
            return Err(both.to_owned());
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        admin_token(text.trim()).map(Some).map_err(|why| format!("the token in {} {why}", path.display()))
    }
}

fn admin_token(text: &str) -> Result<Secret, String> {
    if text.len() < 32 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be at least 32 visible ASCII characters".to_owned());
    }
    Ok(Secret::from(text))
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
    fn every_tool_of_the_log_and_the_queue_shows_examples_and_its_exit_codes() {
        let mut cli = Cli::command();
        cli.build();
        let tools = ["events", "replay", "projections", "operations", "jobs", "queue", "doctor"];
        let mut commands: Vec<&clap::Command> =
            cli.get_subcommands().filter(|command| tools.contains(&command.get_name())).collect();
        assert_eq!(commands.len(), tools.len());
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help"));
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_bin_name().unwrap_or_default();
            assert!(help.contains("Example") && help.contains("Exit codes: 0"), "{name}: {help}");
            let has_json = command.get_arguments().any(|argument| argument.get_id() == "json");
            // An export has a format, and is JSON in both.
            let is_export = command.get_name() == "export";
            assert!(has_json || is_export || command.has_subcommands(), "{name} has no --json");
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for arguments in [
            vec!["serve", "--gateway-min-version", "dev"],
            vec!["serve", "--admin-token", "short"],
            vec!["serve", "--sync-wait", "soon"],
            vec!["serve", "--concurrency", "0"],
            vec!["serve", "--deny-addresses", "everything"],
            vec!["serve", "--rate-limit-token", "many"],
            vec!["serve", "--trusted-proxies", "proxy"],
            vec!["serve", "--cors-allow-origins", "https://a.example/path"],
            vec!["serve", "--metrics-token", ""],
            vec!["--log-format", "xml", "serve"],
        ] {
            let line = ["mission-control"].into_iter().chain(arguments.iter().copied());
            assert!(Cli::try_parse_from(line).is_err(), "{arguments:?}");
        }
    }
}
