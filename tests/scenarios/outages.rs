//! A gateway that goes away in the middle of a registration and stays away for longer than one attempt.

use std::time::Duration;

use futures_util::future::join_all;
use harness::{
    fake_gateway::{FakeGateway, Options},
    world::{Setup, body},
};
use worker::gateway::limits::Limits;

use crate::{Home, homes_with};

#[tokio::test]
async fn repro_a_gateway_that_was_there_is_waited_for_by_each_attempt() {
    let attempt = Duration::from_secs(4);
    let setup = Setup { limits: Limits { attempt, ..Limits::default() }, ..Setup::default() };
    let homes = homes_with(&setup).await;
    join_all(homes.iter().map(|(name, Home { world, .. })| async move {
        let gateway = FakeGateway::start(Options::default()).await;
        let held = gateway.hold("agents.files.set");
        let begun = world.post_with(&body(&gateway), &[("Prefer", "respond-async")]).await;
        held.arrived().await;
        gateway.refuse_dials(true);
        gateway.restart(Duration::ZERO).await;
        gateway.refuse_dials(true);
        drop(held);
        // More than the first attempt and all pauses between five.
        tokio::time::sleep(2 * attempt).await;
        gateway.refuse_dials(false);
        let answer = world.outcome(begun.header("location")).await;
        assert_eq!(answer.json["status"], "succeeded", "{name}: {}", answer.text);
        assert!(answer.json["attempts"].as_u64() > Some(1), "{name}: {}", answer.text);
        let ours = gateway.agents().iter().filter(|agent| agent.id.starts_with("agent-")).count();
        assert_eq!((ours, gateway.messages().len()), (1, 1), "{name}: agents, and wake messages");
        world.audit().await;
    }))
    .await;
}
