//! The operator's command line on a running installation: the log, the queue, the read models.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta};
use harness::{
    fake_gateway::{FakeGateway, Options},
    process::{Said, Server, mission_control, program},
    world::Answer,
};
use serde_json::{Value, json};
use shared::clock::{Clock as _, SystemClock};

fn run(data: &Path, arguments: &[&str], code: i32) -> Said {
    let said = mission_control(data, arguments);
    assert_eq!(said.code, Some(code), "{arguments:?}: {}{}", said.out, said.err);
    said
}

fn lines(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn register(server: &Server, gateway: &FakeGateway, prefer: &str) -> Answer {
    let body = json!({"name": "x", "url": gateway.url(), "workspace_root": "/ws", "token": "gateway-token"});
    let request = reqwest::Client::new().post(format!("{}/api/v1/gateways", server.base)).json(&body);
    Answer::of(request.bearer_auth(server.token().expose()).header("Prefer", prefer)).await
}

#[tokio::test]
async fn the_log_can_be_exported_proved_elsewhere_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, gateway) = (folder.path(), FakeGateway::start(Options::default()).await);
    let server = Server::start(data, &[]).await;
    let created = register(&server, &gateway, "wait=30").await;
    assert_eq!(created.status, 200, "{}", created.text);
    run(data, &["events", "verify", "--json"], 0);
    for format in ["ndjson", "cloudevents"] {
        let exported = run(data, &["events", "export", "--format", format], 0);
        let file = data.join(format);
        let path = file.display().to_string();
        std::fs::write(&file, &exported.out).unwrap();
        assert!(run(data, &["events", "verify", "--offline", &path], 0).out.contains("intact: 7 events"));
        std::fs::write(&file, exported.out.replacen("Owner", "owner", 1)).unwrap();
        assert!(run(data, &["events", "verify", "--offline", &path], 1).out.contains("broken"));
    }
    let cloud = lines(&run(data, &["events", "export", "--format", "cloudevents", "--after", "6"], 0));
    assert_eq!(cloud[0]["specversion"], "1.0");
    assert_eq!(cloud[0]["type"], "GatewayCreated");
    assert_eq!(cloud[0]["sequence"], "00000000000000000007");
    assert!(cloud[0]["correlationid"].is_string(), "{}", cloud[0]);
    let stream = format!("gateway-{}", created.json["id"].as_str().unwrap());
    let states = lines(&run(data, &["replay", "--stream", &stream], 0));
    assert_eq!(states.len(), 4);
    assert_eq!(states[0]["state"]["operation"]["status"], "pending");
    assert_eq!(states[3]["state"]["gateway"], created.json);
    assert_eq!(lines(&run(data, &["replay", "--stream", &stream, "--at", "2"], 0)).len(), 2);
    run(data, &["replay", "--stream", "gateway-x"], 1);
    let listed = lines(&run(data, &["events", "list", "--type", "GatewayCreated"], 0));
    assert_eq!(listed.len(), 1);
    assert_eq!(lines(&run(data, &["events", "show", "7"], 0))[0]["hash"], listed[0]["hash"]);
    let operation = listed[0]["operation"].as_str().unwrap();
    let shown = lines(&run(data, &["operations", "show", operation, "--json"], 0));
    assert_eq!(shown[0]["result"], created.json);
    assert_eq!(lines(&run(data, &["operations", "list", "--json"], 0)).len(), 1);
    assert!(run(data, &["projections", "rebuild"], 0).out.contains("equal"));
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn a_paused_queue_holds_what_is_asked_for_until_it_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, gateway) = (folder.path(), FakeGateway::start(Options::default()).await);
    let server = Server::start(data, &[]).await;
    run(data, &["queue", "pause", "--reason", "a test"], 0);
    let accepted = register(&server, &gateway, "respond-async").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let jobs = lines(&run(data, &["jobs", "list", "--json"], 0));
    let job = jobs[0]["id"].as_str().unwrap();
    assert!(run(data, &["jobs", "explain", job], 0).out.contains("paused"));
    run(data, &["jobs", "show", job], 0);
    run(data, &["jobs", "retry", job], 0);
    assert!(run(data, &["jobs", "cancel", job], 2).err.contains("would come back"));
    assert!(run(data, &["doctor"], 1).out.contains("paused by command line: a test"));
    run(data, &["jobs", "reconcile"], 0);
    assert_eq!(gateway.dials(), 0);
    run(data, &["queue", "resume"], 0);
    let location = accepted.header("location").to_owned();
    let request = reqwest::Client::new().get(format!("{}{location}", server.base));
    let ended = Answer::of(request.bearer_auth(server.token().expose()).header("Prefer", "wait=30")).await;
    assert_eq!(ended.json["status"], "succeeded", "{}", ended.text);
    let of_queue = lines(&run(data, &["events", "list", "--stream", "queue"], 0));
    let names: Vec<&str> = of_queue.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["QueuePaused", "JobRetried", "QueueResumed"]);
    let listen = server.base.trim_start_matches("http://").to_owned();
    run(data, &["doctor", "--listen", &listen], 0);
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn the_worker_of_the_embedded_server_is_listed_and_can_drain() {
    let folder = tempfile::tempdir().unwrap();
    let (data, gateway) = (folder.path(), FakeGateway::start(Options::default()).await);
    let server = Server::start(data, &[]).await;
    let list = || lines(&run(data, &["workers", "list", "--json"], 0));
    let started = Instant::now();
    while list().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(30), "no worker reports itself");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let workers = list();
    let id = workers[0]["id"].as_str().unwrap();
    assert_eq!((workers.len(), &workers[0]["state"]), (1, &json!("working")), "{workers:?}");
    assert!(run(data, &["workers", "drain", id, "--wait"], 0).out.contains("is drained"));
    let accepted = register(&server, &gateway, "respond-async").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    assert!(run(data, &["workers", "drain", id], 0).out.contains("already"));
    assert_eq!(gateway.dials(), 0);
    run(data, &["workers", "resume", id], 0);
    let request = reqwest::Client::new().get(format!("{}{}", server.base, accepted.header("location")));
    let ended = Answer::of(request.bearer_auth(server.token().expose()).header("Prefer", "wait=30")).await;
    assert_eq!(ended.json["status"], "succeeded", "{}", ended.text);
    run(data, &["events", "verify"], 0);
    assert_eq!(server.terminate().await, Some(0));
    assert!(list().is_empty(), "who ends leaves");
}

#[tokio::test]
async fn the_end_of_the_log_is_signed_and_shown_to_who_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, &[]).await;
    let mut tail = Command::new(program("mission-control"))
        .args(["--data-dir", &data.display().to_string(), "events", "tail", "-f", "-n", "1"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(tail.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let shown_at = SystemClock.now();
        let event: Value = serde_json::from_str(&line).unwrap();
        let recorded_at = DateTime::parse_from_rfc3339(event["recorded_at"].as_str().unwrap()).unwrap();
        (event["data"]["name"].clone(), shown_at - recorded_at.to_utc())
    };
    // The last event that was there: the tail runs now.
    next();
    let mut delays = vec![];
    for name in ["a", "b", "c", "d", "e"] {
        run(data, &["organization", "create", name], 0);
        let (shown, delay) = next();
        assert_eq!(shown, name);
        delays.push(delay);
    }
    // The machine that runs this has other things to do; one that is shown in time was not waited for.
    assert!(delays.iter().min().is_some_and(|least| *least < TimeDelta::milliseconds(100)), "{delays:?}");
    tail.kill().unwrap();
    tail.wait().unwrap();
    let started = Instant::now();
    let kept = loop {
        let said = mission_control(data, &["events", "checkpoint"]);
        if said.code == Some(0) {
            break said.out;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{}{}", said.out, said.err);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let file = data.join("checkpoint.json");
    std::fs::write(&file, kept).unwrap();
    run(data, &["events", "verify", "--checkpoint", &file.display().to_string()], 0);
    assert_eq!(server.terminate().await, Some(0));
}
