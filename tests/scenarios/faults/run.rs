//! Registers the rows and holds what happened against them.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream};
use harness::{
    fake_gateway::{Agent, FakeGateway},
    strangers::Names,
    world::{Setup, World},
};
use serde_json::{Value, json};
use worker::gateway::limits::Limits;

use super::{
    case::{Case, Dials, End},
    outcome::{Outcome, register},
    standing::{Standing, stand},
};
use crate::{Home, homes_with};

/// Rows at once: enough to wait together, few enough for two busy cores.
const AT_ONCE: usize = 24;
/// What two busy cores may add to a promised time.
const SLACK: Duration = Duration::from_secs(5);

/// What a person can do next: every detail names one of these.
const NEXT_STEPS: [&str; 11] = [
    "openclaw --version",
    "openclaw.json",
    "grep openclaw",
    "openclaw devices",
    "nc -zv",
    "`url`",
    "`token`",
    "`workspace_root`",
    "`disable_device_pairing",
    "wss://",
    "access rules",
];

/// Limits for rows in which something must take too long: nothing else comes near them.
pub(super) fn quick() -> Limits {
    let two = Duration::from_secs(2);
    Limits {
        dns: two,
        connect: two,
        tls: two,
        upgrade: two,
        challenge: two,
        hello: two,
        call: two,
        optional: Duration::from_secs(1),
        attempt: Duration::from_secs(8),
        asked: two,
        clean_up: two,
        waiting_dials: Duration::from_secs(3),
        redial_min: Duration::from_millis(50),
        redial_max: Duration::from_millis(400),
    }
}

/// Registers every row on every backend.
pub(super) async fn run(limits: Limits, cases: Vec<Case>) {
    let names = Arc::new(Names::default());
    let resolver = Arc::clone(&names);
    let setup = Setup { limits: limits.clone(), resolver, ..Setup::default() };
    let homes = homes_with(&setup).await;
    let backends = homes.iter().map(|(backend, Home { world, .. })| {
        let (limits, names, cases) = (&limits, &names, &cases);
        async move {
            let failed = run_on(world, (names, limits), cases).await;
            assert!(
                failed.is_empty(),
                "{backend}: {} of {} rows:\n{}",
                failed.len(),
                cases.len(),
                failed.join("\n")
            );
            let created = cases.iter().filter(|case| matches!(case.end, End::Created)).count();
            assert_eq!(world.get("/api/v1/gateways").await.json["total"], created, "{backend}");
            world.audit().await;
        }
    });
    join_all(backends).await;
}

/// What did not hold, one text per row.
async fn run_on(world: &World, (names, limits): (&Names, &Limits), cases: &[Case]) -> Vec<String> {
    let rows = cases
        .iter()
        .enumerate()
        .map(|(number, case)| AssertUnwindSafe(check(world, (names, limits), (number, case))).catch_unwind());
    let ended: Vec<_> = stream::iter(rows).buffer_unordered(AT_ONCE).collect().await;
    ended
        .into_iter()
        .filter_map(Result::err)
        .map(|panic| {
            panic.downcast::<String>().map_or_else(|_| "a panic without a text".to_owned(), |text| *text)
        })
        .collect()
}

async fn check(world: &World, (names, limits): (&Names, &Limits), (number, case): (usize, &Case)) {
    let (standing, url) = stand(world, names, (number, case)).await;
    let mut body = json!({
        "name": case.name, "url": url, "workspace_root": "/home/ubuntu/.openclaw/workspaces",
        "token": "gateway-token",
    });
    if let (Value::Object(body), Value::Object(own)) = (&mut body, &case.body) {
        body.extend(own.clone());
    }
    let outcome = register(world, &body, case.is_background).await;
    let name = &case.name;
    look_at_answer(&outcome, case, &url);
    assert_eq!(outcome.attempts, case.attempts, "{name}: attempts");
    let within = case.within.unwrap_or_else(|| promised(limits, case)) + SLACK;
    assert!(outcome.took < within, "{name}: took {:?} of {within:?}", outcome.took);
    let dials = match &standing {
        Standing::Gateway(gateway) => gateway.dials(),
        Standing::Stranger(stranger) => stranger.dials(),
        Standing::Named(host) => names.asked(host),
    };
    let expected = match (&case.dials, standing.gateway()) {
        (Dials::AsRestarted, Some(gateway)) => {
            let dials = 1 + gateway.connections_cut() + gateway.upgrades_refused();
            dials..=dials
        }
        (Dials::AsRestarted, None) => 1..=1,
        (Dials::Within(dials), _) => dials.clone(),
    };
    assert!(expected.contains(&dials), "{name}: {dials} dials, not {expected:?}");
    let shown = world.get(&format!("/api/v1/gateways/{}", outcome.gateway)).await.status;
    assert_eq!(shown, if matches!(case.end, End::Created) { 200 } else { 404 }, "{name}: Get");
    if let Some(gateway) = standing.gateway() {
        look_at(gateway, case);
    }
    look_back(world, case, (&outcome.gateway, standing.gateway())).await;
}

fn look_at_answer(outcome: &Outcome, case: &Case, url: &str) {
    let name = &case.name;
    let End::Failed { code, stage, says } = &case.end else {
        assert_eq!(outcome.status, 200, "{name}: {:#}", outcome.problem);
        return;
    };
    let told = (outcome.problem["code"].as_str(), outcome.problem["stage"].as_str());
    assert_eq!(told, (Some(*code), Some(*stage)), "{name}: {:#}", outcome.problem);
    let status = if *code == "gateway_version_unsupported" { 503 } else { 502 };
    assert_eq!(outcome.status, status, "{name}");
    let port = url.rsplit(':').next().unwrap_or_default();
    let detail = outcome.problem["detail"].as_str().unwrap_or_default();
    for part in says.iter().map(|part| part.replace("{port}", port)) {
        assert!(detail.contains(&part), "{name}: {part:?} is not in {detail:?}");
    }
    assert!(NEXT_STEPS.iter().any(|step| detail.contains(step)), "{name}: no next step in {detail:?}");
    let is_clean = !detail.contains("gateway-token") && !detail.contains(char::is_control);
    assert!(is_clean && detail.chars().count() < 1_000, "{name}: {detail:?}");
}

/// What the patience allows (DESIGN.md §6).
fn promised(limits: &Limits, case: &Case) -> Duration {
    if case.is_background {
        let backoff = Duration::from_secs(4);
        return (limits.attempt + limits.clean_up) * u32::try_from(case.attempts).unwrap_or(5) + backoff;
    }
    limits.waiting_dials + limits.call + limits.clean_up
}

/// The agents that are ours.
pub(super) fn ours(gateway: &FakeGateway) -> Vec<Agent> {
    gateway.agents().into_iter().filter(|agent| agent.id.starts_with("agent-")).collect()
}

fn look_at(gateway: &FakeGateway, case: &Case) {
    let name = &case.name;
    assert_eq!(gateway.rejected_tokens(), case.rejected, "{name}: rejected tries");
    let is_created = matches!(case.end, End::Created);
    assert_eq!(ours(gateway).len(), usize::from(is_created), "{name}: agents");
    if is_created {
        assert_eq!(gateway.messages().len(), 1, "{name}: wake messages");
        assert!(gateway.restarts() >= case.restarts, "{name}: created before it restarted");
    }
}

/// The log tells the end, each failed attempt, and what became of the agent.
async fn look_back(world: &World, case: &Case, (id, gateway): (&str, Option<&FakeGateway>)) {
    let name = &case.name;
    let history = world.history(id).await;
    let count = |wanted: &str| history.iter().filter(|event| *event == wanted).count();
    let is_created = matches!(case.end, End::Created);
    assert_eq!(count("GatewayCreated"), usize::from(is_created), "{name}: {history:?}");
    assert_eq!(count("GatewayCreationFailed"), usize::from(!is_created), "{name}: {history:?}");
    let failed = usize::try_from(case.attempts).unwrap_or_default() - 1;
    assert_eq!(count("ProvisioningAttemptFailed"), failed, "{name}: {history:?}");
    let asked = |gateway: &FakeGateway| gateway.calls().iter().any(|(method, _)| method == "agents.create");
    let removed = usize::from(!is_created && gateway.is_some_and(asked));
    assert_eq!(count("MainAgentRemoved"), removed, "{name}: {history:?}");
    assert_eq!(count("MainAgentLeftBehind"), 0, "{name}: {history:?}");
}
