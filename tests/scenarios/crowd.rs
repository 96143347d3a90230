//! Many registrations at one gateway at once: they take turns, and wait when the gateway asks them to.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, future::join_all, stream};
use harness::{
    fake_gateway::{FakeGateway, Options, Version},
    world::{Setup, World, body},
};
use serde_json::json;
use worker::gateway::limits::Limits;

use crate::{Home, homes, homes_with};

const CROWD: usize = 200;

#[tokio::test]
async fn two_hundred_registrations_at_one_gateway_take_turns_and_none_fails_by_its_limits() {
    let homes = homes().await;
    join_all(homes.iter().map(|(name, Home { world, .. })| async move {
        // A real one takes 30 patches of its configuration a minute; here a minute has 3 s.
        let patch_window = Duration::from_secs(3);
        let options = Options { patch_window, one_view: true, ..Options::version(Version::V2026_9_6) };
        let gateway = FakeGateway::start(options).await;
        let operations = begin(world, &gateway, CROWD).await;
        for operation in &operations {
            let answer = world.outcome(operation).await;
            assert_eq!(answer.json["status"], "succeeded", "{name}: {}", answer.text);
            assert_eq!(answer.json["attempts"], 1, "{name}: {}", answer.text);
        }
        let ours = gateway.agents().iter().filter(|agent| agent.id.starts_with("agent-")).count();
        assert_eq!(ours, CROWD, "{name}");
        assert_eq!((gateway.open_at_most(), gateway.dials()), (1, CROWD), "{name}: at once, and in all");
        world.audit().await;
    }))
    .await;
}

#[tokio::test]
async fn a_wait_that_the_gateway_asks_for_takes_nothing_of_the_attempts_time() {
    let attempt = Duration::from_secs(3);
    let setup = Setup { limits: Limits { attempt, ..Limits::default() }, ..Setup::default() };
    let homes = homes_with(&setup).await;
    join_all(homes.iter().map(|(name, Home { world, .. })| async move {
        let options = Options { patch_window: 2 * attempt, ..Options::version(Version::V2026_6_11) };
        let gateway = FakeGateway::start(options).await;
        let started = Instant::now();
        let operations = begin(world, &gateway, 4).await;
        for operation in &operations {
            let answer = world.outcome(operation).await;
            assert_eq!(answer.json["status"], "succeeded", "{name}: {}", answer.text);
            assert_eq!(answer.json["attempts"], 1, "{name}: {}", answer.text);
        }
        assert!(started.elapsed() > attempt, "{name}: the fourth had to wait");
        assert_eq!((gateway.patches_refused(), gateway.dials()), (1, 4), "{name}");
        world.audit().await;
    }))
    .await;
}

/// Registers it so often; where each is found.
async fn begin(world: &World, gateway: &FakeGateway, times: usize) -> Vec<String> {
    let requests = (0..times).map(|number| {
        let mut body = body(gateway);
        body["name"] = json!(format!("Gateway {number}"));
        async move { world.post_with(&body, &[("Prefer", "respond-async")]).await }
    });
    let answers: Vec<_> = stream::iter(requests).buffer_unordered(32).collect().await;
    answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 202, "{}", answer.text);
            answer.header("location").to_owned()
        })
        .collect()
}
