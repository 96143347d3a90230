//! The master key is rotated while processes run, and the rotation is killed in its middle.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use harness::{
    fake_gateway::{FakeGateway, Options},
    fleet::Fleet,
    process::{Said, Server, mission_control, program},
    world::{Answer, audit, body},
};
use serde_json::Value;
use shared::secret::Secret;

use crate::{home, organization, started};

const LIMIT: Duration = Duration::from_secs(30);

/// Kills it when the rotation has begun: it waits then for what was under way.
fn kill_in_the_middle(mut rotation: Child, log: impl Fn() -> String) {
    let started = Instant::now();
    while !log().contains("MasterKeyRotationBegun") {
        assert!(started.elapsed() < LIMIT, "the rotation does not begin");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(rotation.try_wait().unwrap().is_none(), "it was not killed in the middle, but had ended");
    rotation.kill().unwrap();
    rotation.wait().unwrap();
}

fn quietly(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

async fn post(base: &str, owner: &Secret, (key, body): (&str, &Value)) -> Answer {
    let request = reqwest::Client::new().post(format!("{base}/api/v1/gateways")).bearer_auth(owner.expose());
    Answer::of(request.header("Idempotency-Key", key).json(body)).await
}

/// Its token can be opened, for the worker gets in with it.
async fn is_connected(base: &str, owner: &Secret, created: &Answer) -> bool {
    let id = created.json["id"].as_str().unwrap();
    let request = reqwest::Client::new().get(format!("{base}/api/v1/gateways/{id}/status"));
    Answer::of(request.bearer_auth(owner.expose())).await.json["connected"] == true
}

fn show(said: &str) -> Value {
    serde_json::from_str(said.lines().next().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_embedded_installation_is_rotated_beside_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let run = |arguments: &[&str], code: i32| -> Said {
        let said = mission_control(data, arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {}{}", said.out, said.err);
        said
    };
    let gateway = FakeGateway::start(Options::default()).await;
    let server = Server::start(data, &[]).await;
    let owner = server.token();
    let first = post(&server.base, &owner, ("first", &body(&gateway))).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let before = std::fs::read_to_string(data.join("master.key")).unwrap();
    let rotation = quietly(
        Command::new(program("mission-control"))
            .args(["--data-dir", &data.display().to_string(), "key", "rotate"])
            .env_clear(),
    );
    kill_in_the_middle(rotation, || run(&["events", "list", "--stream", "key"], 0).out);
    let between = show(&run(&["key", "show", "--json"], 0).out);
    assert_eq!(between["next_key_id"], between["files"][1]["key_id"], "{between}");
    let second = post(&server.base, &owner, ("second", &body(&gateway))).await;
    assert_eq!(second.status, 200, "{}", second.text);
    server.kill();
    let server = Server::start(data, &[]).await;
    for created in [&first, &second] {
        assert!(is_connected(&server.base, &owner, created).await, "{}", server.log());
    }
    run(&["key", "rotate"], 0);
    let after = show(&run(&["key", "show", "--json"], 0).out);
    assert_eq!(after["database_key_id"], between["next_key_id"], "{after}");
    assert_eq!(
        (&after["next_key_id"], &after["files"][1]["key_id"]),
        (&Value::Null, &Value::Null),
        "{after}"
    );
    let sealed = after["sealed"].as_array().unwrap();
    assert_eq!((sealed.len(), &sealed[0]["key_id"]), (1, &after["database_key_id"]), "{after}");
    let third = post(&server.base, &owner, ("third", &body(&gateway))).await;
    assert_eq!(third.status, 200, "{}", third.text);
    assert_eq!(server.terminate().await, Some(0));
    // The old key is of no more use, but for backups.
    let kept = data.join(format!("master.key.{}", between["database_key_id"].as_str().unwrap()));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), before);
    let old = data.join("elsewhere");
    std::fs::rename(&kept, &old).unwrap();
    let refused = run(&["--master-key-file", &old.display().to_string(), "doctor"], 1);
    assert!(refused.out.contains("is not the master key of this database"), "{}", refused.out);
    let server = Server::start(data, &[]).await;
    for created in [&first, &second, &third] {
        assert!(is_connected(&server.base, &owner, created).await, "{}", server.log());
    }
    let again = post(&server.base, &owner, ("first", &body(&gateway))).await;
    assert_eq!((again.status, &again.json["id"]), (200, &first.json["id"]), "{}", again.text);
    let mut other = body(&gateway);
    other["name"] = "another".into();
    assert_eq!(post(&server.base, &owner, ("first", &other)).await.status, 422);
    let log = run(&["events", "list", "--stream", "key"], 0).out;
    assert!(log.contains("MasterKeyRotated") && log.contains("\"id\":\"command-line\""), "{log}");
    assert!(!log.contains(before.trim()), "no key is in the log");
    run(&["events", "verify"], 0);
    assert_eq!(server.terminate().await, Some(0));
}

fn run(fleet: &Fleet, arguments: &[&str], code: i32) -> String {
    let output = fleet.mission_control(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    out.into_owned() + &err
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_fleet_is_rotated_while_it_runs() {
    let home = home().await;
    let fleet = &home.fleet;
    // Another host has a copy of its own.
    let host = tempfile::tempdir().unwrap();
    let elsewhere = host.path().join("master.key");
    std::fs::copy(fleet.folder().join("master.key"), &elsewhere).unwrap();
    let elsewhere = elsewhere.display().to_string();
    let mut api = fleet.api("api", &[("NO_WORKER", "true")]);
    let mut worker = fleet.worker("worker", &[("MISSION_CONTROL_MASTER_KEY_FILE", &elsewhere)]);
    started(&mut [&mut api]).await;
    started(&mut [&mut worker]).await;
    let gateway = FakeGateway::start(Options::default()).await;
    let first = post(&api.base, &fleet.owner, ("first", &body(&gateway))).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let refused = run(fleet, &["key", "rotate"], 2);
    assert!(refused.contains(&format!("(pid {})", worker.id())), "{refused}");
    assert!(!refused.contains(&format!("(pid {})", api.id())), "it has the key: {refused}");
    assert_eq!(run(fleet, &["events", "list", "--stream", "key"], 0).matches("MasterKey").count(), 0);
    std::fs::copy(fleet.folder().join("master.key.next"), format!("{elsewhere}.next")).unwrap();
    let rotation = quietly(&mut fleet.mission_control(&["key", "rotate"]));
    kill_in_the_middle(rotation, || run(fleet, &["events", "list", "--stream", "key"], 0));
    let second = post(&api.base, &fleet.owner, ("second", &body(&gateway))).await;
    assert_eq!(second.status, 200, "{}", second.text);
    assert!(is_connected(&api.base, &fleet.owner, &first).await);
    run(fleet, &["key", "rotate"], 0);
    let after = show(&run(fleet, &["key", "show", "--json"], 0));
    assert_eq!(after["sealed"].as_array().unwrap().len(), 1, "{after}");
    let third = post(&api.base, &fleet.owner, ("third", &body(&gateway))).await;
    assert_eq!(third.status, 200, "{}", third.text);
    // The other host's files have their old names still.
    worker.kill();
    started(&mut [&mut worker]).await;
    let again = post(&api.base, &fleet.owner, ("first", &body(&gateway))).await;
    assert_eq!((again.status, &again.json["id"]), (200, &first.json["id"]), "{}", again.text);
    for created in [&first, &second, &third] {
        assert!(is_connected(&api.base, &fleet.owner, created).await, "{}", worker.log());
    }
    worker.terminate();
    assert_eq!(worker.ended().await, Some(0));
    // A host that was forgotten is told which key it lacks.
    std::fs::remove_file(Path::new(&format!("{elsewhere}.next"))).unwrap();
    worker.start();
    assert_eq!(worker.ended().await, Some(2));
    assert!(worker.log().contains("is not the master key of this database"), "{}", worker.log());
    let store = home.database.open().await;
    audit(store.as_ref(), organization(store.as_ref()).await).await;
}
