//! No secret in clear: not in the database, the log at its loudest, an event, an error or an answer.

use std::path::Path;

use harness::{
    fake_gateway::{FakeGateway, Fault, Options, Version},
    process::Server,
    world::Answer,
};
use serde_json::{Value, json};

const TOKEN: &str = "gateway-token-7f3a9c";

/// Every file below a folder, but the ones that are meant to hold a secret.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.ends_with("admin-token") && !path.ends_with("master.key") {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn no_secret_is_anywhere_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    let owner = server.token();
    let http = reqwest::Client::new();
    let ask = |request: reqwest::RequestBuilder| Answer::of(request.bearer_auth(owner.expose()));
    let options = |version| Options { token: Some(TOKEN.to_owned()), ..Options::version(version) };
    let good = FakeGateway::start(options(Version::V2026_6_11)).await;
    let newest = FakeGateway::start(options(Version::V2026_9_6)).await;
    let echo =
        Fault::EchoInError { method: "agents.create".to_owned(), text: "no {token}\u{0} for you".to_owned() };
    let echoing = FakeGateway::start(options(Version::V2026_9_6).with(echo)).await;
    let wrong = FakeGateway::start(Options::default()).await;
    let mut answers = vec![];
    for gateway in [&good, &newest, &echoing, &wrong] {
        let body = json!({"name": "x", "url": gateway.url(), "workspace_root": "/ws", "token": TOKEN});
        let created = ask(http.post(format!("{}/api/v1/gateways", server.base)).json(&body)).await;
        let id = created.json["id"].as_str().or(created.json["gateway_id"].as_str()).unwrap().to_owned();
        answers.push(ask(http.get(format!("{}/api/v1/gateways/{id}/events", server.base))).await);
        let operation = answers.last().unwrap().json["items"][0]["operation"].as_str().unwrap().to_owned();
        answers.push(ask(http.get(format!("{}/api/v1/operations/{operation}", server.base))).await);
        answers.push(created);
    }
    assert_eq!(answers.iter().filter(|answer| answer.json["status"] == "active").count(), 2);
    let masked = answers.iter().filter(|answer| answer.text.contains("no [secret]  for you")).count();
    assert!(masked > 0, "the echoed token is shown as [secret]");
    answers.push(ask(http.get(format!("{}/api/v1/gateways", server.base))).await);
    let agent_tokens: Vec<String> = [&good, &newest]
        .iter()
        .flat_map(|gateway| gateway.agents())
        .flat_map(|agent| agent.files.into_values())
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("AUTH_TOKEN=").map(str::to_owned)))
        .collect();
    assert_eq!(agent_tokens.len(), 2);
    let log = server.log();
    assert!(log.contains("DEBUG") || log.contains("TRACE"), "the log was at its loudest");
    assert_eq!(server.terminate().await, Some(0));
    let mut secrets = agent_tokens;
    secrets.extend([TOKEN.to_owned()]);
    let files = contents(folder.path());
    assert!(files.iter().any(|(name, _)| name.ends_with("mission-control.db")), "the database was looked at");
    for secret in &secrets {
        for (name, bytes) in &files {
            assert!(!contains(bytes, secret), "{name} holds a secret in clear");
        }
        for answer in &answers {
            assert!(!answer.text.contains(secret.as_str()), "an answer holds a secret: {}", answer.text);
        }
    }
    // The owner's own token is printed once, at the first start, and nowhere else.
    for (name, bytes) in &files {
        let shown = String::from_utf8_lossy(bytes).matches(owner.expose()).count();
        assert_eq!(shown, usize::from(name.ends_with("/log")), "{name}");
    }
    assert_ne!(answers[0].json, Value::Null);
}
