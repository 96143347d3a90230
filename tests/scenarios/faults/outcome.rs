//! Registers a gateway with or without waiting, and tells how it ended.

use std::time::{Duration, Instant};

use harness::world::{Answer, World};
use serde_json::Value;

/// How a registration ended, however it was asked for.
pub(super) struct Outcome {
    pub(super) status: u64,
    pub(super) problem: Value,
    pub(super) gateway: String,
    pub(super) attempts: u64,
    pub(super) took: Duration,
}

/// Registers it, and proves that who reads the outcome later is told the same.
pub(super) async fn register(world: &World, body: &Value, is_background: bool) -> Outcome {
    let started = Instant::now();
    let (answer, operation) = if is_background {
        let accepted = world.post_with(body, &[("Prefer", "respond-async")]).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text);
        let operation = world.outcome(accepted.header("location")).await.json;
        (None, operation)
    } else {
        let answer = world.post(body).await;
        assert!([200, 502, 503].contains(&answer.status), "{}: {}", answer.status, answer.text);
        let operation = operation_of(world, &answer).await;
        (Some(answer), operation)
    };
    let took = started.elapsed();
    let problem = operation["error"].clone();
    // Who reads it later is told what the waiting client was told.
    if let Some(answer) = answer {
        let told = if answer.status == 200 { &operation["result"] } else { &problem };
        assert_eq!(answer.json, *told);
    }
    Outcome {
        status: problem["status"].as_u64().unwrap_or(200),
        gateway: operation["gateway_id"].as_str().unwrap_or_default().to_owned(),
        attempts: operation["attempts"].as_u64().unwrap_or_default(),
        problem,
        took,
    }
}

async fn operation_of(world: &World, answer: &Answer) -> Value {
    let operation = if let Some(operation) = answer.json["operation"].as_str() {
        operation.to_owned()
    } else {
        let id = answer.json["id"].as_str().unwrap_or_default();
        let events = world.get(&format!("/api/v1/gateways/{id}/events")).await.json;
        events["items"][0]["operation"].as_str().unwrap_or_default().to_owned()
    };
    world.get(&format!("/api/v1/operations/{operation}")).await.json
}
