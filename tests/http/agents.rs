//! A main agent that checks in, and how it is shown.

use harness::world::{Answer, body};
use reqwest::Method;

use super::{Home, gateway, home, snapshot};

async fn call(home: &Home, method: Method, path: &str, header: (&str, &str)) -> Answer {
    let request = home.world.http.request(method, home.world.url(&format!("/api/v1/agent/{path}")));
    Answer::of(request.header(header.0, header.1)).await
}

#[tokio::test]
async fn an_agent_checks_in_with_the_token_of_its_files() {
    let (home, gateway) = (home().await, gateway().await);
    let created = home.world.post(&body(&gateway)).await;
    let agents = gateway.agents();
    let ours = agents.iter().find(|agent| agent.id.starts_with("agent-")).unwrap();
    let mut lines = ours.files.values().flat_map(|file| file.lines());
    let token = lines.find_map(|line| line.strip_prefix("AUTH_TOKEN=")).unwrap();
    let bearer = format!("Bearer {token}");
    let health = call(&home, Method::GET, "healthz", ("X-Agent-Token", token)).await;
    snapshot("agent_healthz", &health);
    let path = format!("/api/v1/agents/{}", created.json["gateway_agent_id"].as_str().unwrap());
    assert_eq!(home.world.get(&path).await.json["status"], "provisioned");
    snapshot("agent_heartbeat", &call(&home, Method::POST, "heartbeat", ("X-Agent-Token", token)).await);
    let second = call(&home, Method::POST, "heartbeat", ("Authorization", &bearer)).await;
    assert_eq!(second.status, 200, "{}", second.text);
    let shown = home.world.get(&path).await;
    assert_eq!(shown.json["checked_in_at"], second.json["checked_in_at"]);
    assert_eq!(shown.json["status"], "checked_in");
    let page = home.world.get("/api/v1/agents").await;
    snapshot("list_agents", &page);
    assert_eq!(page.json["items"][0], shown.json);
    let log = home.world.log().await;
    assert!(log.iter().all(|event| !event.data.contains(token)));
    let called = log.iter().filter(|event| event.event_type == "MainAgentCheckedIn").count();
    assert_eq!(called, 1, "the second call is no event");
    for _ in 0..40 {
        let answer = call(&home, Method::GET, "healthz", ("X-Agent-Token", token)).await;
        if answer.status == 429 {
            answer.assert_problem(429, "rate_limited", None);
            assert!(!answer.header("retry-after").is_empty());
            home.world.audit().await;
            return;
        }
    }
    panic!("an agent may call without a limit");
}

#[tokio::test]
async fn only_an_agents_own_token_checks_in() {
    let home = home().await;
    let owner = home.world.owner.expose().to_owned();
    for (header, status, code) in [
        (("X-Agent-Token", "mca_nobody"), 401, "unauthenticated"),
        (("Authorization", "Basic x"), 401, "unauthenticated"),
        (("X-Agent-Token", owner.as_str()), 403, "forbidden"),
    ] {
        for (method, path) in [(Method::POST, "heartbeat"), (Method::GET, "healthz")] {
            call(&home, method, path, header).await.assert_problem(status, code, None);
        }
    }
    home.world.get("/api/v1/agents?limit=0").await.assert_problem(400, "invalid_parameter", None);
}
