//! Status, removal, retry, cancellation, and the list of operations.

use harness::{
    fake_gateway::{FakeGateway, Fault, Options},
    world::{Answer, body},
};
use serde_json::{Value, json};

use super::{Home, gateway, home, snapshot};

async fn send(home: &Home, method: reqwest::Method, path: &str, prefer: &str) -> Answer {
    let request =
        home.world.http.request(method, home.world.url(path)).bearer_auth(home.world.owner.expose());
    Answer::of(if prefer.is_empty() { request } else { request.header("Prefer", prefer) }).await
}

async fn delete(home: &Home, path: &str) -> Answer {
    send(home, reqwest::Method::DELETE, path, "").await
}

async fn post(home: &Home, path: &str) -> Answer {
    send(home, reqwest::Method::POST, path, "").await
}

fn path(answer: &Answer) -> String {
    let id = answer.json["id"].as_str().or(answer.json["gateway_id"].as_str()).unwrap();
    format!("/api/v1/gateways/{id}")
}

fn agents(gateway: &FakeGateway) -> usize {
    gateway.agents().iter().filter(|agent| agent.id.starts_with("agent-")).count()
}

#[tokio::test]
async fn a_gateway_is_removed_with_its_agent_and_its_tokens() {
    let (home, gateway) = (home().await, gateway().await);
    let created = home.world.post(&body(&gateway)).await;
    assert_eq!(agents(&gateway), 1);
    let removed = delete(&home, &path(&created)).await;
    snapshot("delete_gateway", &removed);
    assert_eq!(agents(&gateway), 0);
    assert_eq!(home.world.get("/api/v1/gateways").await.json["total"], 0);
    for gone in [
        home.world.get(&path(&created)).await,
        home.world.get(&format!("{}/status", path(&created))).await,
        home.world
            .get(&format!("/api/v1/agents/{}", created.json["gateway_agent_id"].as_str().unwrap()))
            .await,
        delete(&home, &path(&created)).await,
    ] {
        gone.assert_problem(404, "not_found", None);
    }
    let history = home.world.history(created.json["id"].as_str().unwrap()).await;
    assert_eq!(history[4..], ["GatewayDeletionRequested", "SecretErased", "GatewayDeleted"]);
    let id = created.json["id"].as_str().unwrap().parse().unwrap();
    for owner in shared::register::secret_owners(id) {
        assert_eq!(home.world.store.secret(&owner).await.unwrap(), None, "{owner}");
    }
    home.world.audit().await;
}

#[tokio::test]
async fn a_gateway_that_is_away_is_kept_unless_the_removal_is_forced() {
    let (home, gateway) = (home().await, gateway().await);
    let created = home.world.post(&body(&gateway)).await;
    gateway.refuse_dials(true);
    let refused = delete(&home, &path(&created)).await;
    refused.assert_problem(502, "gateway_unreachable", Some("tcp"));
    let kept = home.world.get(&path(&created)).await;
    assert_eq!((kept.status, kept.json["status"].as_str()), (200, Some("active")));
    assert_eq!(kept.json["last_error"], refused.json["detail"]);
    let forced = delete(&home, &format!("{}?force=true", path(&created))).await;
    assert_eq!((forced.status, &forced.json), (200, &json!({"ok": true})));
    let events = home.world.get(&format!("{}/events", path(&created))).await;
    let last = events.json["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["type"], "GatewayDeleted");
    assert_eq!(last["data"]["left"].as_array().unwrap().len(), 1);
    delete(&home, &format!("{}?force=maybe", path(&created))).await.assert_problem(
        400,
        "invalid_parameter",
        None,
    );
    home.world.audit().await;
}

#[tokio::test]
async fn one_change_at_a_time() {
    let (home, gateway) = (home().await, gateway().await);
    let created = home.world.post(&body(&gateway)).await;
    let held = gateway.hold("agents.delete");
    let first = send(&home, reqwest::Method::DELETE, &path(&created), "respond-async").await;
    assert_eq!(first.status, 202, "{}", first.text);
    assert_eq!(home.world.get(&path(&created)).await.json["status"], "deleting");
    snapshot("gateway_busy", &delete(&home, &path(&created)).await);
    let cancel = format!("{}/cancel", first.header("location"));
    post(&home, &cancel).await.assert_problem(409, "gateway_busy", None);
    drop(held);
    let done = home.world.outcome(first.header("location")).await;
    assert_eq!(done.json["result"], json!({"ok": true}));
    home.world.audit().await;
}

#[tokio::test]
async fn a_failed_registration_is_run_again_with_the_stored_request() {
    let (home, gateway) = (home().await, gateway().await);
    gateway.refuse_dials(true);
    let failed = home.world.post(&body(&gateway)).await;
    failed.assert_problem(502, "gateway_unreachable", Some("tcp"));
    gateway.refuse_dials(false);
    let retried = post(&home, &format!("{}/retry", path(&failed))).await;
    assert_eq!(retried.status, 200, "{}", retried.text);
    assert_eq!(retried.json["id"], failed.json["gateway_id"]);
    assert_eq!(agents(&gateway), 1);
    post(&home, &format!("{}/retry", path(&failed))).await.assert_problem(409, "not_retryable", None);
    let first = home.world.get(failed.json["instance"].as_str().unwrap()).await;
    assert_eq!((first.json["status"].as_str(), &first.json["error"]), (Some("failed"), &failed.json));
    let nobody = "/api/v1/gateways/01a20e5b-be41-7f13-aa31-ef2cec8270e7/retry";
    post(&home, nobody).await.assert_problem(404, "not_found", None);
    home.world.audit().await;
}

#[tokio::test]
async fn an_unfinished_registration_is_cancelled_and_leaves_nothing() {
    let (home, gateway) = (home().await, gateway().await);
    let held = gateway.hold("agents.files.set");
    let started = home.world.post_with(&body(&gateway), &[("Prefer", "respond-async")]).await;
    let location = started.header("location").to_owned();
    for _ in 0..500 {
        if gateway.calls().iter().any(|(method, _)| method == "agents.files.set") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let cancelled = post(&home, &format!("{location}/cancel")).await;
    snapshot("cancel_operation", &cancelled);
    assert_eq!(agents(&gateway), 1);
    drop(held);
    home.world.audit().await;
    assert_eq!(agents(&gateway), 0);
    assert_eq!(home.world.get("/api/v1/gateways").await.json["total"], 0);
    let again = post(&home, &format!("{location}/cancel")).await;
    assert_eq!((again.status, again.json["status"].as_str()), (200, Some("cancelled")));
    let retried =
        post(&home, &format!("/api/v1/gateways/{}/retry", started.json["gateway_id"].as_str().unwrap()))
            .await;
    assert_eq!(retried.status, 200, "{}", retried.text);
    let finished = home.world.get("/api/v1/operations?status=succeeded").await;
    let id = finished.json["items"][0]["id"].as_str().unwrap();
    post(&home, &format!("/api/v1/operations/{id}/cancel")).await.assert_problem(
        409,
        "operation_finished",
        None,
    );
    home.world.audit().await;
}

#[tokio::test]
async fn a_waiting_client_is_told_that_its_registration_was_cancelled() {
    let (home, gateway) = (home().await, gateway().await);
    let held = gateway.hold("agents.files.set");
    let waiting = async { home.world.post(&body(&gateway)).await };
    let cancelling = async {
        let mut running = Value::Null;
        for _ in 0..500 {
            running =
                home.world.get("/api/v1/operations?status=running").await.json["items"][0]["id"].clone();
            if running.is_string() {
                break;
            }
        }
        post(&home, &format!("/api/v1/operations/{}/cancel", running.as_str().unwrap())).await
    };
    let (told, cancelled) = tokio::join!(waiting, cancelling);
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    told.assert_problem(409, "operation_cancelled", None);
    drop(held);
    home.world.audit().await;
}

#[tokio::test]
async fn status_is_a_live_look_that_is_shared_and_kept_for_a_moment() {
    let (home, gateway) = (home().await, gateway().await);
    let created = home.world.post(&body(&gateway)).await;
    let status = format!("{}/status", path(&created));
    let before = gateway.dials();
    let looks = futures_util::future::join_all((0..20).map(|_| home.world.get(&status))).await;
    assert!(looks.iter().all(|look| look.status == 200 && look.json == looks[0].json));
    assert_eq!(gateway.dials(), before + 1);
    snapshot("get_gateway_status", &looks[0]);
    assert_eq!(looks[0].json["last_seen_at"], looks[0].json["checked_at"]);
    assert!(looks[0].json["main_session"].as_str().unwrap().starts_with("agent:agent-"));
    gateway.refuse_dials(true);
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let away = home.world.get(&status).await;
    snapshot("get_gateway_status_away", &away);
    assert_eq!(away.json["last_seen_at"], looks[0].json["last_seen_at"]);
    home.world.audit().await;
}

#[tokio::test]
async fn a_gateway_that_refused_the_token_is_not_asked_again_by_looking() {
    let (home, gateway) = (home().await, gateway().await);
    let created = home.world.post(&body(&gateway)).await;
    gateway.set_faults(vec![Fault::LockedOut]);
    let status = format!("{}/status", path(&created));
    let refused = home.world.get(&status).await;
    assert_eq!(
        (refused.json["connected"].as_bool(), refused.json["stage"].as_str()),
        (Some(false), Some("handshake"))
    );
    let dials = gateway.dials();
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    assert_eq!(home.world.get(&status).await.json, refused.json);
    assert_eq!(gateway.dials(), dials);
}

#[tokio::test]
async fn operations_are_listed_newest_first_by_status_and_page() {
    let home = home().await;
    let (good, bad) =
        (gateway().await, FakeGateway::start(Options::default().with(Fault::MissingScope)).await);
    for gateway in [&good, &bad, &good] {
        home.world.post(&body(gateway)).await;
    }
    let all = home.world.get("/api/v1/operations").await;
    let statuses = |answer: &Answer| -> Vec<String> {
        let items = answer.json["items"].as_array().unwrap();
        items.iter().map(|item| item["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(statuses(&all), ["succeeded", "failed", "succeeded"]);
    assert_eq!(statuses(&home.world.get("/api/v1/operations?status=failed").await), ["failed"]);
    let mut paged = vec![];
    let mut cursor = String::new();
    loop {
        let page = home.world.get(&format!("/api/v1/operations?limit=2{cursor}")).await;
        paged.extend(page.json["items"].as_array().unwrap().clone());
        let Some(next) = page.json["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(Value::from(paged), all.json["items"]);
    for bad in ["status=done", "limit=0", "cursor=x", "cursor=1-x"] {
        home.world.get(&format!("/api/v1/operations?{bad}")).await.assert_problem(
            400,
            "invalid_parameter",
            None,
        );
    }
}
