//! Lets schemathesis ask a real server everything that its own OpenAPI document allows and forbids, on each database:
//! with an owner's token every answer must be a documented one, without a token every endpoint that needs one says 401.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a broken harness must stop the run")]
#![expect(clippy::print_stderr, reason = "what it is about to do is what it prints")]

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::{Parser, ValueEnum};
use harness::{
    databases,
    fake_gateway::{FakeGateway, Options},
    process::Server,
};
use serde_json::{Value, json};

/// Gateways that exist before the questions begin; some are deleted by them.
const GATEWAYS: usize = 12;

/// Asks a real server everything that its OpenAPI document allows and forbids.
#[derive(Debug, Parser)]
#[command(after_help = "Example, as by hand:\n  schemathesis --seconds 600 --databases sqlite")]
struct Arguments {
    /// How long each database is asked, in seconds: four fifths of it with a token, one fifth without.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(20..))]
    seconds: u64,
    /// Which databases.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["sqlite", "postgres"])]
    databases: Vec<Database>,
    /// The program, as `tests/schemathesis/install` installs it.
    #[arg(long, default_value = "target/schemathesis/bin/schemathesis")]
    program: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut is_well = true;
    for database in &arguments.databases {
        is_well &= ask(&arguments, *database).await;
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn ask(arguments: &Arguments, database: Database) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let empty = match database {
        Database::Sqlite => None,
        Database::Postgres => Some(databases::Cluster::of_this_process().await.empty_database().await),
    };
    let mut environment =
        vec![("ALLOW_ADDRESSES", "127.0.0.0/8,::1/128"), ("RUST_LOG", "warn"), ("SYNC_WAIT", "2s")];
    environment.extend(empty.as_ref().map(|empty| ("DATABASE_URL", empty.url())));
    let server = Server::start(folder.path(), &environment).await;
    let gateway = FakeGateway::start(Options::default()).await;
    let settings = folder.path().join("schemathesis.toml");
    let told = prepare(&server, &gateway).await;
    std::fs::write(&settings, told.settings).expect("the settings can be written");
    let run = Run { arguments, server: &server, settings: &settings };
    let (with, without) = (arguments.seconds * 4 / 5, arguments.seconds / 5);
    eprintln!("\n{database:?}, with an owner's token, {with} s");
    let owner = format!("Authorization: Bearer {}", server.token().expose());
    let agent = format!("X-Agent-Token: {}", told.agent_token);
    let is_well = run.all(with, &["--workers", "4", "--header", &owner, "--header", &agent]);
    eprintln!("\n{database:?}, without a token, {without} s");
    // Python 3.11 fails to parse in several threads at once (SystemError, "AST constructor recursion depth mismatch"), and
    // where nothing answers but 401 they parse all the time.
    let is_closed = run.all(without, &["--workers", "1", "--phases", "coverage,fuzzing"]);
    if !(is_well && is_closed) {
        eprintln!("\nwhat the server logged:\n{}", server.log());
    }
    is_well && is_closed
}

struct Run<'a> {
    arguments: &'a Arguments,
    server: &'a Server,
    settings: &'a Path,
}

impl Run<'_> {
    fn all(&self, seconds: u64, more: &[&str]) -> bool {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new(root.join(&self.arguments.program));
        command
            .args(["--config-file", &self.settings.display().to_string()])
            .args(["run", &format!("{}/openapi.json", self.server.base)])
            .args(["--checks", "all", "--max-time", &seconds.to_string()])
            .args(["--continue-on-failure", "--no-color", "--generation-database", "none"])
            .args(more)
            .current_dir(self.settings.parent().expect("the settings lie in a folder"))
            .env("SCHEMATHESIS_HOOKS", "rule")
            .env("PYTHONPATH", root.join("tests/schemathesis"));
        let ended = command.status().expect("schemathesis is installed: tests/schemathesis/install");
        ended.success()
    }
}

/// What the questions need to know of what there is.
struct Told {
    settings: String,
    agent_token: String,
}

async fn prepare(server: &Server, gateway: &FakeGateway) -> Told {
    let http = reqwest::Client::new();
    let token = server.token();
    let mut ids = vec![];
    for number in 0..GATEWAYS {
        let body = json!({
            "name": format!("gateway {number}"),
            "url": gateway.url(),
            "workspace_root": "/srv/workspaces",
            "token": "gateway-token",
        });
        let request = http.post(format!("{}/api/v1/gateways", server.base)).bearer_auth(token.expose());
        let created = request.json(&body).send().await.expect("an answer");
        assert_eq!(created.status().as_u16(), 200, "a gateway is created");
        ids.push(created.json::<Value>().await.expect("JSON"));
    }
    let list = |what: &str| {
        let request = http.get(format!("{}/api/v1/{what}", server.base)).bearer_auth(token.expose());
        async move {
            let page: Value = request.send().await.expect("an answer").json().await.expect("JSON");
            page["items"]
                .as_array()
                .expect("a page")
                .iter()
                .map(|item| item["id"].clone())
                .collect::<Vec<_>>()
        }
    };
    let gateways: Vec<Value> = ids.iter().map(|read| read["id"].clone()).collect();
    let (operations, agents) = (list("operations").await, list("agents").await);
    let files = gateway.agents().into_iter().flat_map(|agent| agent.files.into_values());
    let lines: Vec<String> =
        files.flat_map(|file| file.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let agent_token =
        lines.iter().find_map(|line| line.strip_prefix("AUTH_TOKEN=")).expect("an agent has a token");
    let settings = include_str!("schemathesis.toml")
        .replace("GATEWAYS", &Value::from(gateways).to_string())
        .replace("OPERATIONS", &Value::from(operations).to_string())
        .replace("AGENTS", &Value::from(agents).to_string())
        .replace("URL", &gateway.url());
    Told { settings, agent_token: agent_token.to_owned() }
}
