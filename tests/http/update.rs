//! Changing a gateway: what is tried first, what holds, what stays, and what is told.

use harness::{
    fake_gateway::{FakeGateway, Fault, Options, Version},
    world::{Answer, body},
};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    ids::GatewayId,
    register::{device_token_owner, gateway_token_owner, left_token_owner, new_token_owner},
};

use super::{Home, gateway, home, snapshot};

async fn patch(home: &Home, path: &str, body: Value) -> Answer {
    home.world.send(Method::PATCH, path, &body, &[]).await
}

async fn created(home: &Home, gateway: &FakeGateway) -> (String, Answer) {
    let created = home.world.post(&body(gateway)).await;
    assert_eq!(created.status, 200, "{}", created.text);
    (format!("/api/v1/gateways/{}", created.json["id"].as_str().unwrap()), created)
}

fn ours(gateway: &FakeGateway) -> Vec<harness::fake_gateway::Agent> {
    gateway.agents().into_iter().filter(|agent| agent.id.starts_with("agent-")).collect()
}

async fn history(home: &Home, path: &str) -> Vec<String> {
    home.world.history(path.rsplit('/').next().unwrap()).await.split_off(4)
}

async fn token(home: &Home, path: &str, owner: fn(GatewayId) -> String) -> Option<String> {
    let owner = owner(path.rsplit('/').next().unwrap().parse().unwrap());
    let sealed = home.world.store.secret(&owner).await.unwrap()?;
    Some(home.world.vault.open_sealed(&owner, &sealed).unwrap().expose().to_owned())
}

#[tokio::test]
async fn a_new_name_is_written_to_the_agent_and_nothing_else_changes() {
    let (home, gateway) = (home().await, gateway().await);
    let (path, created) = created(&home, &gateway).await;
    let messages = gateway.messages().len();
    let patched = patch(&home, &path, json!({"name": " Renamed "})).await;
    snapshot("update_gateway", &patched);
    assert_eq!(home.world.get(&path).await.json, patched.json);
    assert!(patched.json["updated_at"].as_str().unwrap() > created.json["updated_at"].as_str().unwrap());
    for field in ["id", "url", "workspace_root", "gateway_agent_id", "created_at", "has_token"] {
        assert_eq!(patched.json[field], created.json[field], "{field}");
    }
    assert!(ours(&gateway)[0].files["IDENTITY.md"].contains("\"Renamed\""), "{:?}", ours(&gateway));
    assert_eq!(gateway.messages().len(), messages, "a rename wakes nobody");
    assert_eq!(history(&home, &path).await, ["GatewayUpdateRequested", "GatewayUpdated"]);
    home.world.audit().await;
}

#[tokio::test]
async fn a_move_to_a_forbidden_address_is_refused_and_the_old_one_serves_on() {
    let (home, gateway) = (home().await, gateway().await);
    let (path, created) = created(&home, &gateway).await;
    let dials = gateway.dials();
    let own = format!("ws://{}", home.world.address);
    for url in ["ws://169.254.169.254:18789", "ws://0xa9fea9fe:18789", own.as_str()] {
        let refused = patch(&home, &path, json!({"url": url})).await;
        refused.assert_problem(502, "gateway_address_refused", Some("policy"));
    }
    assert_eq!(gateway.dials(), dials, "the registered gateway is not asked about it");
    assert_eq!(home.world.get(&path).await.json["url"], created.json["url"]);
    assert_eq!(ours(&gateway).len(), 1);
    home.world.audit().await;
}

#[tokio::test]
async fn what_changes_nothing_contacts_nobody() {
    let (home, gateway) = (home().await, gateway().await);
    let (path, created) = created(&home, &gateway).await;
    let dials = gateway.dials();
    for same in [
        json!({}),
        json!({"name": created.json["name"], "url": created.json["url"], "workspace_root": created.json["workspace_root"]}),
        json!({"token": "gateway-token", "allow_insecure_tls": false, "disable_device_pairing": false}),
        json!({"token": "  "}),
    ] {
        let answer = patch(&home, &path, same.clone()).await;
        assert_eq!((answer.status, &answer.json), (200, &created.json), "{same}");
        assert_eq!(answer.header("etag"), created.header("etag"));
    }
    assert_eq!(gateway.dials(), dials);
    assert!(history(&home, &path).await.is_empty());
}

#[tokio::test]
async fn a_connection_that_fails_changes_nothing() {
    let (home, gateway) = (home().await, gateway().await);
    let (path, created) = created(&home, &gateway).await;
    let refused = patch(&home, &path, json!({"token": "wrong-token", "name": "Other"})).await;
    refused.assert_problem(502, "gateway_auth_failed", Some("handshake"));
    let shown = home.world.get(&path).await.json;
    for field in ["name", "url", "updated_at", "has_token", "status"] {
        assert_eq!(shown[field], created.json[field], "{field}");
    }
    assert_eq!(shown["last_error"], refused.json["detail"]);
    assert_eq!(token(&home, &path, gateway_token_owner).await.as_deref(), Some("gateway-token"));
    assert_eq!(token(&home, &path, new_token_owner).await, None);
    assert_eq!(history(&home, &path).await, ["GatewayUpdateRequested", "GatewayUpdateFailed"]);
    let log = home.world.log().await;
    assert!(log.iter().all(|event| !event.data.contains("wrong-token")));
    let away = FakeGateway::start(Options::default()).await;
    away.refuse_dials(true);
    let refused = patch(&home, &path, json!({"url": away.url()})).await;
    refused.assert_problem(502, "gateway_unreachable", Some("tcp"));
    assert_eq!(home.world.get(&path).await.json["url"], created.json["url"]);
    assert_eq!(ours(&gateway).len(), 1);
    home.world.audit().await;
}

#[tokio::test]
async fn a_token_is_set_and_cleared_when_the_gateway_takes_it() {
    let (home, gateway) = (home().await, gateway().await);
    let (path, _) = created(&home, &gateway).await;
    let options = Options { token: Some("other-token".to_owned()), ..Options::default() };
    let other = FakeGateway::start(options).await;
    let moved = patch(&home, &path, json!({"url": other.url(), "token": "other-token"})).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    assert_eq!(token(&home, &path, gateway_token_owner).await.as_deref(), Some("other-token"));
    home.world.audit().await;
    assert_eq!(token(&home, &path, left_token_owner).await, None);
    let cleared = patch(&home, &path, json!({"token": null})).await;
    cleared.assert_problem(502, "gateway_auth_failed", Some("handshake"));
    assert_eq!(home.world.get(&path).await.json["has_token"], true);
    home.world.audit().await;
}

#[tokio::test]
async fn repro_a_wrong_token_is_refused_although_our_device_was_issued_one() {
    let (home, gateway) = (home().await, FakeGateway::start(Options::version(Version::V2026_2_9)).await);
    let (path, _) = created(&home, &gateway).await;
    assert!(token(&home, &path, device_token_owner).await.is_some(), "the device was issued a token");
    let wrong = patch(&home, &path, json!({"token": "wrong"})).await;
    wrong.assert_problem(502, "gateway_auth_failed", Some("handshake"));
    assert_eq!(gateway.rejected_tokens(), 1);
    assert_eq!(token(&home, &path, gateway_token_owner).await.as_deref(), Some("gateway-token"));
    home.world.audit().await;
}

#[tokio::test]
async fn a_move_takes_the_agent_along_and_removes_it_where_it_was() {
    let (home, old, new) = (home().await, gateway().await, gateway().await);
    let (path, created) = created(&home, &old).await;
    let moved = patch(&home, &path, json!({"url": new.url(), "workspace_root": "/srv/other"})).await;
    assert_eq!((moved.status, moved.json["url"].as_str()), (200, Some(new.url().as_str())), "{}", moved.text);
    assert_eq!(moved.json["gateway_agent_id"], created.json["gateway_agent_id"]);
    assert!(ours(&new)[0].workspace.as_deref().unwrap().starts_with("/srv/other/agent-"));
    home.world.audit().await;
    assert!(ours(&old).is_empty());
    assert_eq!(history(&home, &path).await, ["GatewayUpdateRequested", "GatewayUpdated", "MainAgentRemoved"]);
    let back = patch(&home, &path, json!({"url": old.url()})).await;
    assert_eq!(back.status, 200, "{}", back.text);
    home.world.audit().await;
    assert_eq!((ours(&old).len(), ours(&new).len()), (1, 0));
}

#[tokio::test]
async fn another_address_of_the_same_gateway_keeps_its_agent() {
    let (home, gateway) = (home().await, gateway().await);
    let (path, _) = created(&home, &gateway).await;
    let url = gateway.url().replace("127.0.0.1", "localhost");
    let patched = patch(&home, &path, json!({"url": url})).await;
    assert_eq!((patched.status, patched.json["url"].as_str()), (200, Some(url.as_str())), "{}", patched.text);
    home.world.audit().await;
    assert_eq!(ours(&gateway).len(), 1);
    assert_eq!(history(&home, &path).await, ["GatewayUpdateRequested", "GatewayUpdated"]);
}

#[tokio::test]
async fn a_name_holds_although_the_gateway_is_away_and_the_agent_learns_it_later() {
    let (home, gateway) = (home().await, gateway().await);
    let (path, _) = created(&home, &gateway).await;
    gateway.refuse_dials(true);
    let patched = patch(&home, &path, json!({"name": "Renamed"})).await;
    assert_eq!((patched.status, patched.json["name"].as_str()), (200, Some("Renamed")), "{}", patched.text);
    assert_eq!(patched.json["last_error"], Value::Null);
    gateway.refuse_dials(false);
    home.world.audit().await;
    assert!(ours(&gateway)[0].files["IDENTITY.md"].contains("\"Renamed\""));
    assert_eq!(
        history(&home, &path).await,
        ["GatewayUpdateRequested", "GatewayUpdated", "MainAgentProvisioned"]
    );
}

#[tokio::test]
async fn an_agents_own_files_survive_a_change() {
    for version in [Version::V2026_2_9, Version::V2026_9_6] {
        let (home, gateway) = (home().await, FakeGateway::start(Options::version(version)).await);
        let (path, _) = created(&home, &gateway).await;
        let id = ours(&gateway)[0].id.clone();
        gateway.write_file(&id, "MEMORY.md", "what I know");
        let patched = patch(&home, &path, json!({"workspace_root": "/srv/other", "name": "Renamed"})).await;
        assert_eq!(patched.status, 200, "{version:?}: {}", patched.text);
        let agent = ours(&gateway).remove(0);
        assert_eq!(agent.files["MEMORY.md"], "what I know");
        assert_eq!(agent.workspace.as_deref(), Some(format!("/srv/other/{id}").as_str()));
        home.world.audit().await;
    }
}

#[tokio::test]
async fn a_change_waits_for_no_other_and_can_be_made_conditional() {
    let (home, gateway) = (home().await, gateway().await);
    let (path, created) = created(&home, &gateway).await;
    let name = |name: &str| json!({"name": name});
    let etag = created.header("etag").to_owned();
    for stale in ["\"1\"", "W/\"4\"", "nonsense", ""] {
        let answer = home.world.send(Method::PATCH, &path, &name("x"), &[("If-Match", stale)]).await;
        answer.assert_problem(412, "precondition_failed", None);
    }
    let held = gateway.hold("agents.files.set");
    let headers = [("If-Match", etag.as_str()), ("Prefer", "respond-async")];
    let first = home.world.send(Method::PATCH, &path, &name("first"), &headers).await;
    assert_eq!(first.status, 202, "{}", first.text);
    assert_eq!(first.json["kind"], "update_gateway");
    patch(&home, &path, name("second")).await.assert_problem(409, "gateway_busy", None);
    let delete = home.world.send(Method::DELETE, &path, &json!({}), &[]).await;
    delete.assert_problem(409, "gateway_busy", None);
    assert_eq!(home.world.get(&path).await.json["name"], created.json["name"]);
    drop(held);
    let done = home.world.outcome(first.header("location")).await;
    assert_eq!(done.json["result"]["name"], "first");
    let any = home.world.send(Method::PATCH, &path, &name("third"), &[("If-Match", "*")]).await;
    assert_eq!((any.status, any.json["name"].as_str()), (200, Some("third")));
    home.world.audit().await;
}

#[tokio::test]
async fn a_patch_is_validated_like_a_post() {
    let (home, gateway) = (home().await, gateway().await);
    let (path, _) = created(&home, &gateway).await;
    let faulty = json!({"name": null, "url": "http://x", "allow_insecure_tls": null, "id": "x", "token": 1});
    snapshot("update_many_faults", &patch(&home, &path, faulty).await);
    patch(&home, &path, json!({"workspace_root": " "})).await.assert_problem(
        422,
        "invalid_workspace_root",
        None,
    );
    patch(&home, &path, json!([])).await.assert_problem(400, "invalid_json", None);
    let merge = [("Content-Type", "application/merge-patch+json")];
    let request = home.world.http.patch(home.world.url(&path)).bearer_auth(home.world.owner.expose());
    let merged = Answer::of(request.header(merge[0].0, merge[0].1).body(r#"{"name": "Merged"}"#)).await;
    assert_eq!((merged.status, merged.json["name"].as_str()), (200, Some("Merged")), "{}", merged.text);
    let nobody = "/api/v1/gateways/01a20e5b-be41-7f13-aa31-ef2cec8270e7";
    patch(&home, nobody, json!({})).await.assert_problem(404, "not_found", None);
}

#[tokio::test]
async fn a_move_that_fails_half_way_leaves_nothing_on_the_new_gateway() {
    let (home, old) = (home().await, gateway().await);
    let (path, created) = created(&home, &old).await;
    let fault = Fault::RefuseCall {
        method: "sessions.patch".to_owned(),
        code: "INVALID_REQUEST".to_owned(),
        message: "no".to_owned(),
        details: None,
        retryable: None,
    };
    let new = FakeGateway::start(Options::default().with(fault)).await;
    let refused = patch(&home, &path, json!({"url": new.url()})).await;
    refused.assert_problem(502, "gateway_provisioning_failed", Some("wake"));
    assert_eq!(home.world.get(&path).await.json["url"], created.json["url"]);
    assert_eq!((ours(&old).len(), ours(&new).len()), (1, 0));
    home.world.audit().await;
}
