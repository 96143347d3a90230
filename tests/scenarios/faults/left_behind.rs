//! A registration fails and its agent cannot be removed at once: who removes it, and who says so if nobody can.

use std::time::Duration;

use futures_util::future::join_all;
use harness::{
    fake_gateway::{FakeGateway, Fault, HoldGuard, Options},
    world::{Answer, Setup, World, body},
};
use shared::job::Kind;

use super::run::{ours, quick};
use crate::{Home, homes_with};

/// Waits until the history of the gateway holds this event.
async fn until_recorded(world: &World, gateway: &str, event: &str) {
    let mut history = vec![];
    for _ in 0..1_500 {
        history = world.history(gateway).await;
        if history.iter().any(|recorded| recorded == event) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no {event} within 30 s: {history:?}");
}

async fn kinds(world: &World) -> Vec<Kind> {
    world.store.jobs().await.unwrap().into_iter().map(|queued| queued.job.kind).collect()
}

/// Registers, and does `meanwhile` when the agent stands and its files are being written.
async fn register(
    world: &World,
    gateway: &FakeGateway,
    prefer: &str,
    meanwhile: impl FnOnce(&FakeGateway, HoldGuard),
) -> Answer {
    let held = gateway.hold("agents.files.set");
    let (request, headers) = (body(gateway), [("Prefer", prefer)]);
    let (answer, ()) = tokio::join!(world.post_with(&request, &headers), async {
        held.arrived().await;
        meanwhile(gateway, held);
    });
    if answer.status == 202 {
        let operation = world.outcome(answer.header("location")).await;
        return Answer { json: operation.json["error"].clone(), ..operation };
    }
    answer
}

/// Failed: not listed, not shown.
async fn assert_hidden(world: &World, id: &str) {
    assert_eq!(world.get("/api/v1/gateways").await.json["total"], 0);
    world.get(&format!("/api/v1/gateways/{id}")).await.assert_problem(404, "not_found", None);
}

fn drop_files(gateway: &FakeGateway) -> Vec<Fault> {
    assert_eq!(ours(gateway).len(), 1, "the agent was created");
    vec![Fault::DropAt { method: "agents.files.set".to_owned(), times: usize::MAX }]
}

/// Tells the story on every backend and with every preference at once.
async fn on_each(prefers: &[&str], story: impl AsyncFn(&str, &Home, &str)) {
    let mut homes = vec![];
    for prefer in prefers {
        let setup = Setup { limits: quick(), ..Setup::default() };
        homes.extend(homes_with(&setup).await.into_iter().map(|(name, home)| (name, home, *prefer)));
    }
    join_all(homes.iter().map(|(name, home, prefer)| story(name, home, prefer))).await;
}

#[tokio::test]
async fn an_agent_on_a_gateway_that_went_away_is_removed_once_it_is_back() {
    on_each(&["wait=30", "respond-async"], async |name, home, prefer| {
        let gateway = FakeGateway::start(Options::default()).await;
        let answer = register(&home.world, &gateway, prefer, |gateway, held| {
            gateway.set_faults(drop_files(gateway));
            gateway.refuse_dials(true);
            drop(held);
        })
        .await;
        assert_eq!(answer.code(), "gateway_unreachable", "{name}: {}", answer.text);
        let id = answer.json["gateway_id"].as_str().unwrap().to_owned();
        assert_hidden(&home.world, &id).await;
        assert_eq!(ours(&gateway).len(), 1, "{name}: it cannot be removed yet");
        assert!(kinds(&home.world).await.contains(&Kind::RemoveMainAgent), "{name}: a clean-up job goes on");
        gateway.refuse_dials(false);
        until_recorded(&home.world, &id, "MainAgentRemoved").await;
        assert_eq!(ours(&gateway).len(), 0, "{name}");
        assert_hidden(&home.world, &id).await;
        home.world.audit().await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_whose_removal_is_never_answered_is_removed_once_it_is() {
    on_each(&["wait=30"], async |name, home, prefer| {
        let gateway = FakeGateway::start(Options::default()).await;
        let answer = register(&home.world, &gateway, prefer, |gateway, held| {
            let mute = |method: &str| Fault::MuteAt(method.to_owned());
            gateway.set_faults(vec![mute("agents.files.set"), mute("agents.delete")]);
            drop(held);
        })
        .await;
        answer.assert_problem(502, "gateway_timeout", Some("files"));
        let id = answer.json["gateway_id"].as_str().unwrap().to_owned();
        assert!(kinds(&home.world).await.contains(&Kind::RemoveMainAgent), "{name}: a clean-up job goes on");
        assert_eq!(ours(&gateway).len(), 1, "{name}");
        gateway.set_faults(vec![]);
        until_recorded(&home.world, &id, "MainAgentRemoved").await;
        assert_eq!(ours(&gateway).len(), 0, "{name}");
        assert_hidden(&home.world, &id).await;
        home.world.audit().await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_is_told_to_be_left_behind_where_nothing_may_dial_its_gateway() {
    on_each(&["wait=30", "respond-async"], async |name, home, prefer| {
        let gateway = FakeGateway::start(Options::default()).await;
        let answer = register(&home.world, &gateway, prefer, |gateway, held| {
            let locked = [drop_files(gateway), vec![Fault::LockedOut]].concat();
            gateway.set_faults(locked);
            drop(held);
        })
        .await;
        let stage = answer.json["stage"].as_str();
        assert_eq!((answer.code(), stage), ("gateway_auth_failed", Some("handshake")), "{name}");
        let id = answer.json["gateway_id"].as_str().unwrap().to_owned();
        assert_eq!(
            home.world.history(&id).await,
            ["GatewayRequested", "GatewayCreationFailed", "MainAgentLeftBehind"],
            "{name}"
        );
        assert_eq!((gateway.dials(), gateway.rejected_tokens()), (2, 1), "{name}");
        assert!(!kinds(&home.world).await.contains(&Kind::RemoveMainAgent), "{name}: nothing dials it again");
        let events = home.world.get(&format!("/api/v1/gateways/{id}/events")).await.json;
        let left = &events["items"][2]["data"];
        assert!(left["agent_id"].as_str().unwrap().starts_with("agent-"), "{name}: {left:#}");
        assert!(left["why"].as_str().unwrap().contains("rejected"), "{name}: {left:#}");
        assert_hidden(&home.world, &id).await;
        home.world.audit().await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_the_gateway_will_not_remove_is_told_to_be_left_behind() {
    on_each(&["wait=30"], async |name, home, prefer| {
        let gateway = FakeGateway::start(Options::default()).await;
        let answer = register(&home.world, &gateway, prefer, |gateway, held| {
            let refused = Fault::RefuseCall {
                method: "agents.delete".to_owned(),
                code: "INVALID_REQUEST".to_owned(),
                message: "agents cannot be deleted here".to_owned(),
                details: None,
                retryable: None,
            };
            gateway.set_faults(vec![Fault::MuteAt("agents.files.set".to_owned()), refused]);
            drop(held);
        })
        .await;
        answer.assert_problem(502, "gateway_timeout", Some("files"));
        let id = answer.json["gateway_id"].as_str().unwrap().to_owned();
        until_recorded(&home.world, &id, "MainAgentLeftBehind").await;
        let events = home.world.get(&format!("/api/v1/gateways/{id}/events")).await.json;
        assert!(
            events["items"][2]["data"]["why"].as_str().unwrap().contains("cannot be deleted here"),
            "{name}"
        );
        home.world.audit().await;
    })
    .await;
}
