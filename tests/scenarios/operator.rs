//! The operator's command line as real processes beside a running installation, on each database: the log, the queue, the
//! read models.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta};
use harness::{
    databases::{ServerDatabase, empty},
    fake_gateway::{FakeGateway, Options},
    process::{Said, Server, said, sub_command},
    world::Answer,
};
use serde_json::{Value, json};
use shared::clock::{Clock as _, SystemClock};

/// Where an installation is.
struct Place {
    folder: tempfile::TempDir,
    database: Option<ServerDatabase>,
}

/// One place for each kind of database, with its name; nothing is there yet.
async fn places() -> Vec<(&'static str, Place)> {
    let folder = || tempfile::tempdir().unwrap();
    vec![
        ("sqlite", Place { folder: folder(), database: None }),
        ("postgres", Place { folder: folder(), database: Some(empty().await) }),
    ]
}

impl Place {
    fn data(&self) -> &Path {
        self.folder.path()
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        self.database.iter().map(|database| ("DATABASE_URL", database.url())).collect()
    }

    async fn start(&self) -> Server {
        Server::start(self.data(), &self.environment()).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        sub_command(self.data(), &self.environment(), arguments)
    }

    fn run(&self, arguments: &[&str], code: i32) -> Said {
        let said = said(&mut self.command(arguments));
        assert_eq!(said.code, Some(code), "{arguments:?}: {}{}", said.out, said.err);
        said
    }
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
    for (name, place) in places().await {
        let gateway = FakeGateway::start(Options::default()).await;
        let server = place.start().await;
        let created = register(&server, &gateway, "wait=30").await;
        assert_eq!(created.status, 200, "{name}: {}", created.text);
        let run = |arguments: &[&str], code| place.run(arguments, code);
        run(&["events", "verify", "--json"], 0);
        for format in ["ndjson", "cloudevents"] {
            let exported = run(&["events", "export", "--format", format], 0);
            let file = place.data().join(format);
            let path = file.display().to_string();
            std::fs::write(&file, &exported.out).unwrap();
            let proved = run(&["events", "verify", "--offline", &path], 0);
            assert!(proved.out.contains("intact: 7 events"), "{name}: {}", proved.out);
            std::fs::write(&file, exported.out.replacen("Owner", "owner", 1)).unwrap();
            assert!(run(&["events", "verify", "--offline", &path], 1).out.contains("broken"), "{name}");
            let mut bytes = exported.out.clone().into_bytes();
            bytes[100] ^= 0x80;
            std::fs::write(&file, bytes).unwrap();
            let broken = run(&["events", "verify", "--offline", &path], 1);
            assert!(broken.out.contains("position 1"), "{name}: no UTF-8 any more: {}", broken.out);
        }
        let cloud = lines(&run(&["events", "export", "--format", "cloudevents", "--after", "6"], 0));
        assert_eq!(cloud[0]["specversion"], "1.0");
        assert_eq!(cloud[0]["type"], "GatewayCreated");
        assert_eq!(cloud[0]["sequence"], "00000000000000000007");
        assert!(cloud[0]["correlationid"].is_string(), "{}", cloud[0]);
        let stream = format!("gateway-{}", created.json["id"].as_str().unwrap());
        let states = lines(&run(&["replay", "--stream", &stream], 0));
        assert_eq!(states.len(), 4);
        assert_eq!(states[0]["state"]["operation"]["status"], "pending");
        assert_eq!(states[3]["state"]["gateway"], created.json);
        assert_eq!(lines(&run(&["replay", "--stream", &stream, "--at", "2"], 0)).len(), 2);
        run(&["replay", "--stream", "gateway-x"], 1);
        let listed = lines(&run(&["events", "list", "--type", "GatewayCreated"], 0));
        assert_eq!(listed.len(), 1);
        assert_eq!(lines(&run(&["events", "show", "7"], 0))[0]["hash"], listed[0]["hash"]);
        let operation = listed[0]["operation"].as_str().unwrap();
        let shown = lines(&run(&["operations", "show", operation, "--json"], 0));
        assert_eq!(shown[0]["result"], created.json);
        assert_eq!(lines(&run(&["operations", "list", "--json"], 0)).len(), 1);
        assert!(run(&["projections", "rebuild"], 0).out.contains("equal"));
        assert_eq!(server.terminate().await, Some(0), "{name}");
    }
}

#[tokio::test]
async fn a_paused_queue_holds_what_is_asked_for_until_it_is_resumed() {
    for (name, place) in places().await {
        let gateway = FakeGateway::start(Options::default()).await;
        let server = place.start().await;
        let run = |arguments: &[&str], code| place.run(arguments, code);
        run(&["queue", "pause", "--reason", "a test"], 0);
        let accepted = register(&server, &gateway, "respond-async").await;
        assert_eq!(accepted.status, 202, "{name}: {}", accepted.text);
        let jobs = lines(&run(&["jobs", "list", "--json"], 0));
        let job = jobs[0]["id"].as_str().unwrap();
        assert!(run(&["jobs", "explain", job], 0).out.contains("paused"));
        run(&["jobs", "show", job], 0);
        run(&["jobs", "retry", job], 0);
        assert!(run(&["jobs", "cancel", job], 2).err.contains("would come back"));
        assert!(run(&["doctor"], 1).out.contains("paused by command line: a test"));
        run(&["jobs", "reconcile"], 0);
        assert_eq!(gateway.dials(), 0, "{name}");
        run(&["queue", "resume"], 0);
        let location = accepted.header("location").to_owned();
        let request = reqwest::Client::new().get(format!("{}{location}", server.base));
        let request = request.bearer_auth(server.token().expose()).header("Prefer", "wait=30");
        let ended = Answer::of(request).await;
        assert_eq!(ended.json["status"], "succeeded", "{name}: {}", ended.text);
        let of_queue = lines(&run(&["events", "list", "--stream", "queue"], 0));
        let names: Vec<&str> = of_queue.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(names, ["QueuePaused", "JobRetried", "QueueResumed"]);
        let listen = server.base.trim_start_matches("http://").to_owned();
        run(&["doctor", "--listen", &listen], 0);
        assert_eq!(server.terminate().await, Some(0), "{name}");
    }
}

#[tokio::test]
async fn a_worker_is_listed_and_can_drain() {
    for (name, place) in places().await {
        let gateway = FakeGateway::start(Options::default()).await;
        let server = place.start().await;
        let list = || lines(&place.run(&["workers", "list", "--json"], 0));
        let started = Instant::now();
        while list().is_empty() {
            assert!(started.elapsed() < Duration::from_secs(30), "{name}: no worker reports itself");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let workers = list();
        let id = workers[0]["id"].as_str().unwrap();
        assert_eq!((workers.len(), &workers[0]["state"]), (1, &json!("working")), "{name}: {workers:?}");
        assert!(place.run(&["workers", "drain", id, "--wait"], 0).out.contains("is drained"), "{name}");
        let accepted = register(&server, &gateway, "respond-async").await;
        assert_eq!(accepted.status, 202, "{name}: {}", accepted.text);
        assert!(place.run(&["workers", "drain", id], 0).out.contains("already"), "{name}");
        assert_eq!(gateway.dials(), 0, "{name}");
        place.run(&["workers", "resume", id], 0);
        let request = reqwest::Client::new().get(format!("{}{}", server.base, accepted.header("location")));
        let request = request.bearer_auth(server.token().expose()).header("Prefer", "wait=30");
        let ended = Answer::of(request).await;
        assert_eq!(ended.json["status"], "succeeded", "{name}: {}", ended.text);
        place.run(&["events", "verify"], 0);
        assert_eq!(server.terminate().await, Some(0), "{name}");
        assert!(list().is_empty(), "{name}: who ends leaves");
    }
}

#[tokio::test]
async fn whoever_follows_the_log_is_shown_an_event_as_soon_as_it_is_recorded() {
    for (name, place) in places().await {
        let server = place.start().await;
        let mut tail = place
            .command(&["events", "tail", "-f", "-n", "1"])
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
        for number in 0..9 {
            place.run(&["organization", "create", &number.to_string()], 0);
            let (shown, delay) = next();
            assert_eq!(shown, number.to_string());
            delays.push(delay);
        }
        // From the decision on, so the commit is in it. Most of them: the machine that runs this has other things to do.
        delays.sort_unstable();
        println!("{name}: shown after {} ms at most, half of them", delays[4].num_milliseconds());
        assert!(delays[4] < TimeDelta::milliseconds(100), "{name}: {delays:?}");
        tail.kill().unwrap();
        tail.wait().unwrap();
        assert_eq!(server.terminate().await, Some(0), "{name}");
    }
}

#[tokio::test]
async fn the_end_of_the_log_is_signed_and_a_cut_end_is_found() {
    for (name, place) in places().await {
        let server = place.start().await;
        place.run(&["organization", "create", "Acme"], 0);
        let started = Instant::now();
        let kept = loop {
            let said = said(&mut place.command(&["events", "checkpoint"]));
            if said.code == Some(0) {
                break said.out;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{name}: {}{}", said.out, said.err);
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let position = serde_json::from_str::<Value>(&kept).unwrap()["position"].as_u64().unwrap();
        let file = place.data().join("checkpoint.json");
        std::fs::write(&file, kept).unwrap();
        let path = file.display().to_string();
        place.run(&["events", "verify", "--checkpoint", &path], 0);
        // The same, cut: with `--offline` there is no head of the log that would have to be changed.
        let exported = place.run(&["events", "export"], 0).out;
        let kept = usize::try_from(position).unwrap() - 1;
        let cut: String = exported.split_inclusive('\n').take(kept).collect();
        let log = place.data().join("log.ndjson");
        std::fs::write(&log, cut).unwrap();
        let log = log.display().to_string();
        place.run(&["events", "verify", "--offline", &log], 0);
        let found = place.run(&["events", "verify", "--offline", &log, "--checkpoint", &path], 1);
        assert!(found.out.contains(&format!("position {position}")), "{name}: {}", found.out);
        assert_eq!(server.terminate().await, Some(0), "{name}");
    }
}
