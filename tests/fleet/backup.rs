//! The commands of docs/operating.md that back an installation up and restore it, run as they stand there.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use harness::{
    databases::{Cluster, server_programs},
    fake_gateway::{FakeGateway, Options},
    fleet::{Client, Fleet},
    process::{Server, program},
    world::body,
};

/// For the first checkpoint.
const LIMIT: Duration = Duration::from_secs(30);

/// The block that follows this mark.
fn block(mark: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) =
        text.split_once(&format!("<!-- run: {mark} -->\n```sh\n")).expect("the page has that block");
    rest.split_once("```").expect("a block ends").0.to_owned()
}

/// Runs a script as a person does, in this folder; stdout and stderr.
fn run(folder: &Path, environment: &[(&str, &str)], script: &str) -> String {
    let ours = program("mission-control");
    let path = format!("{}:{}:/usr/bin:/bin", ours.parent().unwrap().display(), server_programs().display());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}");
    said
}

/// The test needs a program that not every machine has.
fn needs(program: &str, apt: &str) {
    let found = Command::new("bash").args(["-c", &format!("command -v {program}")]).output().unwrap();
    assert!(found.status.success(), "this test needs {program}: apt-get install -y {apt}");
}

fn wait_for_checkpoint(mut there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !there() {
        assert!(started.elapsed() < LIMIT, "no checkpoint was signed");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_installation_is_backed_up_while_it_runs_and_restored() {
    needs("sqlite3", "sqlite3");
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let gateway = FakeGateway::start(Options::default()).await;
    let server = Server::start(&home.join("data"), &[]).await;
    let register = || {
        let request = reqwest::Client::new().post(format!("{}/api/v1/gateways", server.base));
        request.bearer_auth(server.token().expose()).json(&body(&gateway)).send()
    };
    assert_eq!(register().await.unwrap().status(), 200);
    wait_for_checkpoint(|| {
        let asked = harness::process::mission_control(&server.data, &["events", "checkpoint"]);
        asked.code == Some(0)
    });
    run(home, &[], &block("sqlite backup"));
    assert_eq!(register().await.unwrap().status(), 200);
    assert_eq!(server.terminate().await, Some(0));
    let said = run(home, &[], &block("sqlite restore"));
    assert!(said.contains("intact"), "{said}");
    let restored = Server::start(&home.join("restored"), &[]).await;
    let token = std::fs::read_to_string(home.join("data/admin-token")).unwrap();
    let request = reqwest::Client::new().get(format!("{}/api/v1/gateways", restored.base));
    let listed: serde_json::Value =
        request.bearer_auth(token.trim()).send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["total"], 1, "what was registered after the backup is not in it: {listed}");
    // The token of the gateway opens with the key.
    let id = listed["items"][0]["id"].as_str().unwrap();
    let request = reqwest::Client::new().get(format!("{}/api/v1/gateways/{id}/status", restored.base));
    let status: serde_json::Value =
        request.bearer_auth(token.trim()).send().await.unwrap().json().await.unwrap();
    assert_eq!(status["connected"], true, "{status}");
    assert_eq!(restored.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_backed_up_while_it_runs_and_restored_into_another_database() {
    let cluster = Cluster::of_this_process().await;
    let (database, other) = (cluster.empty_database().await, cluster.empty_database().await);
    let fleet = Fleet::on(database.url());
    let mut server = fleet.api("server", &[]);
    server.start();
    server.ready().await;
    let gateway = FakeGateway::start(Options::default()).await;
    let client = Client::new(vec![server.base.clone()], fleet.owner.clone());
    assert_eq!(client.register(1, &gateway).await["status"], "active");
    wait_for_checkpoint(|| {
        fleet.mission_control(&["events", "checkpoint"]).output().unwrap().status.success()
    });
    let folder = tempfile::tempdir().unwrap();
    let environment = [("DATABASE_URL", database.url()), ("RESTORED_URL", other.url())];
    run(folder.path(), &environment, &block("postgres backup"));
    assert_eq!(client.register(3, &gateway).await["status"], "active");
    server.terminate();
    assert_eq!(server.ended().await, Some(0));
    let said = run(folder.path(), &environment, &block("postgres restore"));
    assert!(said.contains("intact"), "{said}");
    let restored = fleet.on_another(other.url());
    let mut server = restored.api("restored", &[]);
    server.start();
    server.ready().await;
    let client = Client::new(vec![server.base.clone()], restored.owner.clone());
    assert_eq!(client.register(5, &gateway).await["status"], "active");
    let store = other.open().await;
    let organization = crate::organization(store.as_ref()).await;
    assert_eq!(store.gateways(organization, 10, 0).await.unwrap().total, 2);
    server.terminate();
    assert_eq!(server.ended().await, Some(0));
}
