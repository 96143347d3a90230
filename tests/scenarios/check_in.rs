//! A main agent that is expected to call: it does, or is woken again, or counts as offline.

use std::time::Duration;

use harness::{
    fake_gateway::{FakeGateway, Fault, Options},
    world::{Answer, Setup, World, body},
};
use serde_json::{Value, json};
use worker::config::Wakes;

use crate::homes_with;

fn setup(most: u32, milliseconds: u64) -> Setup {
    Setup { wakes: Wakes { most, wait: Duration::from_millis(milliseconds) }, ..Setup::default() }
}

/// The gateway's id and its agent's.
async fn register(world: &World, gateway: &FakeGateway) -> (String, String) {
    let created = world.post(&body(gateway)).await;
    assert_eq!(created.status, 200, "{}", created.text);
    let text = |name: &str| created.json[name].as_str().unwrap().to_owned();
    (text("id"), text("gateway_agent_id"))
}

/// Calls with the token that stands in the agent's files.
async fn call(world: &World, gateway: &FakeGateway) -> Answer {
    let agents = gateway.agents();
    let ours = agents.iter().find(|agent| agent.id.starts_with("agent-")).unwrap();
    let mut lines = ours.files.values().flat_map(|file| file.lines());
    let token = lines.find_map(|line| line.strip_prefix("AUTH_TOKEN=")).unwrap().to_owned();
    let request = world.http.post(world.url("/api/v1/agent/heartbeat")).header("X-Agent-Token", token);
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

async fn until_agent(world: &World, agent: &str, status: &str) -> Value {
    let mut shown = Value::Null;
    for _ in 0..1_200 {
        shown = world.get(&format!("/api/v1/agents/{agent}")).await.json;
        if shown["status"] == status {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not {status} within 30 s: {shown:#}");
}

#[tokio::test]
async fn an_agent_that_does_not_call_is_woken_three_times_and_then_offline() {
    for (name, home) in homes_with(&setup(3, 200)).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (id, agent) = register(world, &gateway).await;
        let shown = until_agent(world, &agent, "offline").await;
        assert_eq!(shown["checked_in_at"], Value::Null, "{name}");
        assert!(shown["provisioned_at"].is_string(), "{name}: that it was written is another fact");
        assert_eq!(gateway.messages().len(), 1 + 3, "{name}: {:?}", gateway.messages());
        let turned = ["MainAgentMissedCheckIn", "MainAgentWentOffline"];
        assert_eq!(world.history(&id).await[4..], turned, "{name}");
        assert_eq!(world.get(&format!("/api/v1/gateways/{id}")).await.json["status"], "active", "{name}");
        world.audit().await;
        // It calls after all, and again and again: that is one event.
        for _ in 0..5 {
            call(world, &gateway).await;
        }
        let last = call(world, &gateway).await;
        let shown = until_agent(world, &agent, "checked_in").await;
        assert_eq!(shown["checked_in_at"], last.json["checked_in_at"], "{name}");
        assert_eq!(world.history(&id).await[4..], [turned[0], turned[1], "MainAgentCheckedIn"], "{name}");
        world.audit().await;
    }
}

#[tokio::test]
async fn an_agent_that_calls_in_time_is_not_woken_again() {
    for (name, home) in homes_with(&setup(3, 1_500)).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (id, agent) = register(world, &gateway).await;
        assert_eq!(until_agent(world, &agent, "provisioned").await["checked_in_at"], Value::Null, "{name}");
        call(world, &gateway).await;
        until_agent(world, &agent, "checked_in").await;
        world.audit().await;
        assert_eq!(world.history(&id).await[4..], ["MainAgentCheckedIn"], "{name}");
        assert_eq!(gateway.messages().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn an_agent_whose_wake_cannot_arrive_is_offline_all_the_same() {
    for (name, home) in homes_with(&setup(2, 200)).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (id, agent) = register(world, &gateway).await;
        gateway.set_faults(vec![Fault::LockedOut]);
        until_agent(world, &agent, "offline").await;
        assert_eq!(gateway.rejected_tokens(), 1, "{name}: a refused credential is not sent again");
        let told = world.get(&format!("/api/v1/gateways/{id}/events")).await.json["items"][5].clone();
        assert_eq!(
            (&told["type"], &told["data"]["wakes"]),
            (&json!("MainAgentWentOffline"), &json!(0)),
            "{name}"
        );
        world.audit().await;
    }
}

#[tokio::test]
async fn nobody_is_woken_where_the_setting_says_never() {
    for (name, home) in homes_with(&setup(0, 1)).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (id, agent) = register(world, &gateway).await;
        assert!(world.store.jobs().await.unwrap().is_empty(), "{name}");
        assert_eq!(until_agent(world, &agent, "provisioned").await["status"], "provisioned", "{name}");
        call(world, &gateway).await;
        until_agent(world, &agent, "checked_in").await;
        assert_eq!(world.history(&id).await[4..], ["MainAgentCheckedIn"], "{name}");
        assert_eq!(gateway.messages().len(), 1, "{name}");
        world.audit().await;
    }
}

#[tokio::test]
async fn a_removed_gateways_agent_is_not_awaited() {
    for (name, home) in homes_with(&setup(3, 700)).await {
        let (world, gateway) = (&home.world, FakeGateway::start(Options::default()).await);
        let (id, _) = register(world, &gateway).await;
        let removed =
            world.send(reqwest::Method::DELETE, &format!("/api/v1/gateways/{id}"), &json!({}), &[]).await;
        assert_eq!(removed.status, 200, "{name}: {}", removed.text);
        world.audit().await;
        assert_eq!(gateway.messages().len(), 1, "{name}");
    }
}
