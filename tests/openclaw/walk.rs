//! The walk of the README, command by command, against a real gateway.

use std::{path::Path, process::Stdio};

use harness::{
    openclaw::{Gateway, Options, Version},
    process::{Server, program},
};
use tokio::process::Command;

const README: &str = include_str!("../../README.md");
/// Stands before the block of commands.
const MARK: &str = "<!-- tests/openclaw/walk.rs runs these commands as they stand here -->\n```sh\n";

/// The commands, with what is another one here: programs, ports, paths and the token.
fn commands(server: &Server, gateway: &Gateway) -> String {
    let (_, rest) = README.split_once(MARK).expect("the README has the walk");
    let (commands, _) = rest.split_once("```").expect("the block ends");
    let control = format!("{} --data-dir {}", program("mission-control").display(), server.data.display());
    let substitutes = [
        (
            "cargo run --release --bin mission-control-worker --",
            program("mission-control-worker").display().to_string(),
        ),
        ("cargo run --release --", control),
        ("http://127.0.0.1:8000", server.base.clone()),
        ("ws://127.0.0.1:18789", gateway.url()),
        ("my-gateway-token", gateway.secret().unwrap_or_default().to_owned()),
        ("data/admin-token", server.data.join("admin-token").display().to_string()),
        ("$PWD/gateway/workspaces", gateway.workspace_root().display().to_string()),
    ];
    substitutes.into_iter().fold(commands.to_owned(), |commands, (from, to)| {
        assert!(commands.contains(from), "the walk has no {from}");
        commands.replace(from, &to)
    })
}

async fn run(commands: &str, folder: &Path) -> String {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", commands]).current_dir(folder);
    let done = bash.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("bash can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let out = text(&done.stdout);
    assert!(done.status.success(), "{:?}:\n{out}\n{}", done.status, text(&done.stderr));
    out
}

#[tokio::test]
async fn every_command_of_the_walk_does_what_it_says() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut gateway = Gateway::start(Options::new(Version::V2026_9_6)).await;
    let before = gateway.held().await;
    let server = Server::start(&folder.path().join("data"), &[("RUST_LOG", "info")]).await;
    let out = run(&commands(&server, &gateway), folder.path()).await;
    for said in [
        "can be registered.",
        r#""status":"active""#,
        r#""connected":true"#,
        r#""main_updated":true"#,
        r#""errors":[]"#,
        r#""name":"Renamed Gateway""#,
        r#"{"ok":true,"agent_id":"agent-"#,
        r#""checked_in_at":"20"#,
        "GatewayCreated",
        "TemplatesSynced",
        r#"{"ok":true}"#,
    ] {
        assert!(out.contains(said), "{said} is not in what it said:\n{out}");
    }
    let after = gateway.held().await;
    assert_eq!(after.agent_ids(), before.agent_ids());
    assert_eq!(after.heartbeat("main"), before.heartbeat("main"));
    assert_eq!(server.terminate().await, Some(0));
    gateway.stop().await;
}
