//! What the processes log: one line for each request, one for each job, the whole story under the operation's id, the
//! trace of the request in all of it, and no secret in any.

use std::time::{Duration, Instant};

use harness::{
    fake_gateway::{FakeGateway, Options},
    site::Site,
    world::{Answer, body},
};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TOKEN: &str = "kept-between-us-5f2c";
const WRONG: &str = "not-the-right-one-77aa";

/// Every line, as JSON.
fn lines(site: &Site) -> Vec<Value> {
    let log = site.log();
    // The first token is shown once to whoever starts an embedded one, and is no log line.
    let lines = log.lines().filter(|line| !line.starts_with("First start. "));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}

/// The lines with this operation's id anywhere, once its last one is there.
async fn story(site: &Site, operation: &str, last: &str) -> Vec<Value> {
    let since = Instant::now();
    loop {
        let found: Vec<Value> =
            lines(site).into_iter().filter(|line| line.to_string().contains(operation)).collect();
        if found.iter().any(|line| message(line) == last) {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{}: {found:#?}", site.name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn one<'a>(site: &Site, story: &'a [Value], wanted: &str) -> &'a Value {
    let found: Vec<&Value> = story.iter().filter(|line| message(line) == wanted).collect();
    assert_eq!(found.len(), 1, "{}: {wanted}: {story:#?}", site.name);
    found[0]
}

/// The operation of the newest event of this gateway.
async fn operation_of(site: &Site, gateway: &Value) -> String {
    let path = format!("/api/v1/gateways/{}/events", gateway.as_str().unwrap());
    let events = site.get(&path).await;
    events.json["items"][0]["operation"].as_str().unwrap().to_owned()
}

fn is_traced(site: &Site, story: &[Value]) {
    for line in story {
        let trace = line["span"]["traceparent"].as_str().unwrap_or_default();
        assert!(trace.starts_with(&format!("00-{TRACE}-")), "{}: {line:#}", site.name);
    }
}

async fn one_operation_tells_its_whole_story(site: &Site) {
    let gateway = FakeGateway::start(Options { token: Some(TOKEN.to_owned()), ..Options::default() }).await;
    let mut wanted = body(&gateway);
    wanted["token"] = json!(TOKEN);
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let created = site.post(&wanted, &[("traceparent", &traceparent), ("X-Request-Id", "create-1")]).await;
    assert_eq!(created.status, 200, "{}: {}", site.name, created.text);
    let operation = operation_of(site, &created.json["id"]).await;
    let story_of = story(site, &operation, "job").await;
    is_traced(site, &story_of);
    let request = one(site, &story_of, "request");
    let told = (&request["method"], &request["path"], &request["status"], &request["span"]["request.id"]);
    assert_eq!(told, (&json!("POST"), &json!("/api/v1/gateways"), &json!(200), &json!("create-1")));
    assert!(request["duration_ms"].is_u64() && request["level"] == "INFO", "{request:#}");
    let job = one(site, &story_of, "job");
    assert_eq!((&job["outcome"], &job["span"]["job.kind"]), (&json!("done"), &json!("provision_gateway")));
    assert_eq!(job["span"]["gateway.id"], created.json["id"], "{job:#}");
    assert!(job["duration_ms"].is_u64(), "{job:#}");
    one(site, &story_of, "gateway provisioned");

    wanted["token"] = json!(WRONG);
    let refused = site.post(&wanted, &[("traceparent", &traceparent)]).await;
    refused.assert_problem(502, "gateway_auth_failed", Some("handshake"));
    let operation = operation_of(site, &refused.json["gateway_id"]).await;
    let story_of = story(site, &operation, "job").await;
    is_traced(site, &story_of);
    assert_eq!(one(site, &story_of, "request")["status"], 502);
    let failed = one(site, &story_of, "attempt failed");
    assert_eq!((&failed["stage"], &failed["code"]), (&json!("handshake"), &json!("gateway_auth_failed")));
    assert_eq!(one(site, &story_of, "job")["outcome"], "done");

    // Another request about it is found by it too.
    let path = format!("/api/v1/operations/{operation}");
    assert_eq!(site.get(&path).await.status, 200);
    let since = Instant::now();
    while !lines(site).iter().any(|line| line["path"] == path && line["span"]["operation"] == operation) {
        assert!(since.elapsed() < Duration::from_secs(20), "{}", site.name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let agents = gateway.agents();
    let files = agents.iter().find(|agent| agent.id.starts_with("agent-")).map(|agent| format!("{agent:?}"));
    let log = site.log();
    let shown = log.lines().filter(|line| !line.starts_with("First start. ")).collect::<String>();
    for secret in [TOKEN, WRONG, site.owner.expose()] {
        assert!(!shown.contains(secret), "{}: a secret is in the log", site.name);
    }
    let agent_token = files.as_deref().and_then(token_in).expect("the agent's files hold its token");
    assert!(!shown.contains(&agent_token), "{}: the agent's token is in the log", site.name);
}

/// The agent's own token, as one of its files has it.
fn token_in(files: &str) -> Option<String> {
    let (_, rest) = files.split_once("mca_")?;
    let token: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    Some(format!("mca_{token}"))
}

async fn each_request_is_one_line(site: &Site) {
    let api = |path: &str| format!("{}{path}", site.api);
    let owner = site.owner.expose();
    let list = || site.http.get(api("/api/v1/gateways"));
    let requests = [
        ("line-ok", list().bearer_auth(owner), 200),
        ("line-401", list(), 401),
        ("line-404", site.http.get(api("/nowhere")), 404),
        ("line-405", site.http.put(api("/api/v1/gateways")), 405),
        ("line-406", list().header("Accept", "text/html"), 406),
        ("line-400", site.http.post(api("/api/v1/gateways")).bearer_auth(owner).json(&json!({})), 400),
        ("line-health", site.http.get(api("/healthz")), 200),
    ];
    let mut wanted = vec![];
    for (id, request, status) in requests {
        let answer = Answer::of(request.header("X-Request-Id", id)).await;
        assert_eq!(answer.status, status, "{}: {id}", site.name);
        wanted.push((id, status));
    }
    // This one goes away while it waits.
    let gateway = FakeGateway::start(Options::default()).await;
    let held = gateway.hold("agents.create");
    let request = site.http.post(api("/api/v1/gateways")).bearer_auth(owner).json(&body(&gateway));
    let waiting = tokio::spawn(request.header("X-Request-Id", "line-gone").send());
    held.arrived().await;
    waiting.abort();
    wanted.push(("line-gone", 499));
    let since = Instant::now();
    loop {
        let lines = lines(site);
        let of = |id: &str| -> Vec<u64> {
            let own =
                lines.iter().filter(|line| message(line) == "request" && line["span"]["request.id"] == id);
            own.filter_map(|line| line["status"].as_u64()).collect()
        };
        let missing = wanted.iter().find(|(id, status)| of(id) != [u64::from(*status)]);
        let Some((id, status)) = missing else { break };
        let late = since.elapsed() > Duration::from_secs(10);
        assert!(!late, "{}: {id} has {:?}, not one line of {status}", site.name, of(id));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_with_an_operations_id_tell_its_whole_story_and_no_secret() {
    for site in Site::both(&[("LOG_FORMAT", "json")]).await {
        one_operation_tells_its_whole_story(&site).await;
        each_request_is_one_line(&site).await;
    }
}
