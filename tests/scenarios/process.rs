//! The server as a process: killed in the middle, started twice, stopped, and its command line beside it.

use std::time::Duration;

use harness::{
    fake_gateway::{FakeGateway, Options},
    process::{Server, mission_control},
    world::{Answer, body},
};
use serde_json::Value;

async fn until<F: Fn() -> bool>(what: &str, condition: F) {
    for _ in 0..1_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s: {what}");
}

#[tokio::test]
async fn a_registration_that_was_killed_ends_by_itself_once() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = FakeGateway::start(Options::default()).await;
    let server = Server::start(folder.path(), &[]).await;
    let owner = server.token();
    let http = reqwest::Client::new();
    let held = gateway.hold("agents.files.set");
    let request = http.post(format!("{}/api/v1/gateways", server.base)).bearer_auth(owner.expose());
    let accepted = Answer::of(request.header("Prefer", "respond-async").json(&body(&gateway))).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let called = |method: &str| gateway.calls().iter().any(|(called, _)| called == method);
    until("the files are being written", || called("agents.files.set")).await;
    server.kill();
    drop(held);
    let server = Server::start(folder.path(), &[]).await;
    let mut operation = Value::Null;
    for _ in 0..20 {
        let request =
            http.get(format!("{}{}", server.base, accepted.header("location"))).bearer_auth(owner.expose());
        operation = Answer::of(request.header("Prefer", "wait=2")).await.json;
        if operation["status"] == "succeeded" {
            break;
        }
    }
    assert_eq!(operation["status"], "succeeded", "{operation:#}");
    let agents = gateway.agents().iter().filter(|agent| agent.id.starts_with("agent-")).count();
    assert_eq!(agents, 1);
    assert_eq!(gateway.messages().len(), 1);
    let verified = mission_control(folder.path(), &["events", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let listed = mission_control(folder.path(), &["events", "list"]);
    let created = listed.out.lines().filter(|line| line.contains("\"type\":\"GatewayCreated\"")).count();
    assert_eq!(created, 1, "{}", listed.out);
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn the_command_line_manages_who_may_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    let run = |arguments: &[&str]| {
        let said = mission_control(folder.path(), arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}", said.err);
        said.out.trim().to_owned()
    };
    let organization = run(&["organization", "create", "Acme"]);
    assert!(run(&["organization", "list"]).contains(&format!("{organization}  Acme")));
    let owner = run(&["member", "add", "--organization", &organization, "ada", "--role", "owner"]);
    let member = run(&["member", "add", "--organization", &organization, "bob"]);
    run(&["member", "set-role", "--organization", &organization, &member, "admin"]);
    assert!(run(&["member", "list", "--organization", &organization]).contains("admin   bob"));
    let token = run(&["token", "create", "--organization", &organization, "--member", &member]);
    assert!(token.starts_with("mc_"), "{token}");
    let http = reqwest::Client::new();
    let status = || async {
        let request = http.get(format!("{}/api/v1/gateways", server.base)).bearer_auth(&token);
        Answer::of(request).await.status
    };
    assert_eq!(status().await, 200);
    let listed = run(&["token", "list", "--organization", &organization]);
    let id = listed.split_whitespace().next().unwrap();
    run(&["token", "revoke", id]);
    assert_eq!(status().await, 401);
    let last = mission_control(folder.path(), &["member", "remove", "--organization", &organization, &owner]);
    assert_eq!(last.code, Some(2));
    assert!(last.err.contains("last owner"), "{}", last.err);
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn one_serve_per_file_and_none_without_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    let second = mission_control(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, Some(2));
    assert!(second.err.contains("another `mission-control serve` runs"), "{}", second.err);
    let idle = mission_control(folder.path(), &["serve", "--no-worker"]);
    assert_eq!(idle.code, Some(2));
    assert!(idle.err.contains("PostgreSQL"), "{}", idle.err);
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn another_master_key_is_refused_with_the_name_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    assert_eq!(server.terminate().await, Some(0));
    let key = folder.path().join("master.key");
    std::fs::write(&key, "00".repeat(32)).unwrap();
    let refused = mission_control(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains(&key.display().to_string()), "{}", refused.err);
}

#[tokio::test]
async fn a_broken_log_is_found_and_one_that_is_not_there_is_not_called_intact() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(mission_control(folder.path(), &["events", "verify"]).code, Some(2));
    let server = Server::start(folder.path(), &[]).await;
    assert_eq!(server.terminate().await, Some(0));
    assert_eq!(mission_control(folder.path(), &["events", "verify"]).code, Some(0));
    let file = format!("sqlite://{}", folder.path().join("mission-control.db").display());
    let database = sqlx::SqlitePool::connect(&file).await.unwrap();
    sqlx::query("update events set metadata = metadata || ' ' where position = 2")
        .execute(&database)
        .await
        .unwrap();
    database.close().await;
    let broken = mission_control(folder.path(), &["events", "verify"]);
    assert_eq!(broken.code, Some(1));
    assert!(broken.out.contains("position 2"), "{}", broken.out);
}
