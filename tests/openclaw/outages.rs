//! A gateway that goes away in the middle of a registration.

use std::time::{Duration, Instant};

use harness::openclaw::{Client, Gateway, Options, Proxy, Version};
use serde_json::{Value, json};

use crate::{
    compatibility::saw_over_a_stop,
    registration::{MissionControl, Registration},
};

#[tokio::test]
async fn a_2026_9_6_that_is_killed_and_started_in_the_middle_is_registered_once() {
    killed_in_the_middle(Version::V2026_9_6).await;
}

#[tokio::test]
async fn a_2026_6_11_that_is_stopped_and_started_in_the_middle_is_registered_once() {
    let mut gateway = Gateway::start(Options::new(Version::V2026_6_11)).await;
    let control = MissionControl::start().await;
    let operation = in_the_middle(&control, &gateway).await;
    gateway.stop().await;
    registered_once(&control, &mut gateway, &operation).await;
    control.stop().await;
}

#[tokio::test]
async fn a_2026_2_9_that_is_killed_and_started_in_the_middle_is_registered_once() {
    killed_in_the_middle(Version::V2026_2_9).await;
}

async fn killed_in_the_middle(version: Version) {
    let mut gateway = Gateway::start(Options::new(version)).await;
    let control = MissionControl::start().await;
    let operation = in_the_middle(&control, &gateway).await;
    gateway.kill();
    registered_once(&control, &mut gateway, &operation).await;
    control.stop().await;
}

/// A registration that has made the agent and not much more.
async fn in_the_middle(control: &MissionControl, gateway: &Gateway) -> String {
    let mut registration = Registration::of(gateway, &Proxy::before(gateway).await);
    // A proxy would accept what a gateway that is away refuses.
    registration.url = gateway.url();
    let mut client = gateway.client().await;
    let operation = control.begin(&registration).await;
    until_there_are_two_agents(&mut client).await;
    operation
}

async fn registered_once(control: &MissionControl, gateway: &mut Gateway, operation: &str) {
    assert_eq!(control.operation(operation).await["status"], json!("running"), "it went away too late");
    let stopped = Instant::now();
    gateway.start_again().await;
    let registered = control.outcome(operation).await.expect("it is registered");
    let step = "register, and stop and start it in the middle";
    saw_over_a_stop(gateway, step, "registered once", stopped.elapsed());
    let id = registered.on_gateway();
    gateway.until_run_of(&id).await;
    let held = gateway.held().await;
    assert_eq!(held.agent_ids(), ["main".to_owned(), id.clone()]);
    // Written; a 2026.9.6 that was killed while it took a change over takes over the next one 5 minutes later.
    assert_eq!(held.entries()[&id].pointer("/heartbeat/every"), Some(&json!("30m")));
    assert_eq!(held.heartbeat("main").as_deref(), Some("45m"));
    assert!(held.file(&id, "AGENTS.md").is_some_and(|text| text.contains(&registered.agent_id)));
    assert!(held.label(&id).is_some_and(|label| label.contains(&registered.agent_id)));
    assert_eq!(gateway.runs_of(&id), 1, "the agent is woken once");
    gateway.stop().await;
}

async fn until_there_are_two_agents(client: &mut Client) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let agents = client.ok("agents.list", json!({})).await;
        let count = agents.get("agents").and_then(Value::as_array).map_or(0, Vec::len);
        if count == 2 {
            return;
        }
        assert!(Instant::now() < until, "no agent was created");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
