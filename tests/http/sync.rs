//! Writing the agents anew from the templates.

use harness::{
    fake_gateway::{Agent, FakeGateway, Fault, Options, Version},
    world::{Answer, body},
};
use reqwest::Method;
use serde_json::json;
use shared::{domain::organization::Role, store::Credential, token};

use super::{Home, gateway, home, snapshot};

async fn sync(home: &Home, path: &str, query: &str) -> Answer {
    home.world.send(Method::POST, &format!("{path}/templates/sync{query}"), &json!({}), &[]).await
}

async fn created(home: &Home, gateway: &FakeGateway) -> String {
    let created = home.world.post(&body(gateway)).await;
    assert_eq!(created.status, 200, "{}", created.text);
    format!("/api/v1/gateways/{}", created.json["id"].as_str().unwrap())
}

fn agent(gateway: &FakeGateway) -> Agent {
    gateway.agents().into_iter().find(|agent| agent.id.starts_with("agent-")).unwrap()
}

/// The agent's token as it stands in its files, and whether it is accepted.
async fn token_of(home: &Home, agent: &Agent) -> (String, bool) {
    let files = agent.files.values();
    let mut lines = files.flat_map(|file| file.lines()).filter_map(|line| line.strip_prefix("AUTH_TOKEN="));
    let token = lines.next().unwrap().to_owned();
    let accepted = is_accepted(home, &token).await;
    (token, accepted)
}

async fn is_accepted(home: &Home, token: &str) -> bool {
    let found = home.world.store.credential(&token::hash(token)).await.unwrap();
    matches!(found, Some(Credential::Agent { .. }))
}

#[tokio::test]
async fn the_files_are_written_and_the_agents_own_ones_kept() {
    for version in [Version::V2026_2_9, Version::V2026_9_6] {
        let (home, gateway) = (home().await, FakeGateway::start(Options::version(version)).await);
        let path = created(&home, &gateway).await;
        let id = agent(&gateway).id;
        let before = agent(&gateway).files;
        let messages = gateway.messages().len();
        for (name, text) in [("SOUL.md", "lost"), ("MEMORY.md", "what I know"), ("USER.md", "whom I know")] {
            gateway.write_file(&id, name, text);
        }
        let synced = sync(&home, &path, "").await;
        snapshot("sync_templates", &synced);
        let after = agent(&gateway).files;
        assert_eq!(after["SOUL.md"], before["SOUL.md"]);
        assert_eq!((after["MEMORY.md"].as_str(), after["USER.md"].as_str()), ("what I know", "whom I know"));
        assert_eq!(gateway.messages().len(), messages);
        let synced = sync(&home, &path, "?overwrite=true&force_bootstrap=true").await;
        assert_eq!(synced.json["main_updated"], true, "{}", synced.text);
        assert_eq!(agent(&gateway).files, before);
        assert_eq!(gateway.messages().len(), messages + 1);
        let history = home.world.history(path.rsplit('/').next().unwrap()).await;
        assert_eq!(history[4..6], ["TemplateSyncRequested", "TemplatesSynced"]);
        home.world.audit().await;
    }
}

#[tokio::test]
async fn a_rotated_token_ends_when_the_files_are_written() {
    let (home, gateway) = (home().await, gateway().await);
    let path = created(&home, &gateway).await;
    let (old, _) = token_of(&home, &agent(&gateway)).await;
    let held = gateway.hold("agents.files.set");
    let rotating = sync(&home, &path, "?rotate_tokens=true");
    let looking = async {
        asked_again(&gateway, "agents.files.set").await;
        assert!(is_accepted(&home, &old).await);
        drop(held);
    };
    let (rotated, ()) = tokio::join!(rotating, looking);
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let (new, accepted) = token_of(&home, &agent(&gateway)).await;
    assert!(new != old && accepted);
    assert!(!is_accepted(&home, &old).await);
    let log = home.world.log().await;
    assert!(log.iter().all(|event| !event.data.contains(&new) && !event.metadata.contains(&new)));
    home.world.audit().await;
}

/// Waits until the gateway was asked for this once more than a creation does.
async fn asked_again(gateway: &FakeGateway, method: &str) {
    let count = || gateway.calls().iter().filter(|(called, _)| called == method).count();
    for _ in 0..500 {
        if count() > 7 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(count() > 7, "{method} was called {} times", count());
}

#[tokio::test]
async fn what_fails_for_an_agent_is_told_and_its_token_still_works() {
    let (home, gateway) = (home().await, gateway().await);
    let path = created(&home, &gateway).await;
    let (old, _) = token_of(&home, &agent(&gateway)).await;
    gateway.set_faults(vec![Fault::RefuseCall {
        method: "sessions.patch".to_owned(),
        code: "INVALID_REQUEST".to_owned(),
        message: "no".to_owned(),
        details: None,
        retryable: None,
    }]);
    let synced = sync(&home, &path, "?rotate_tokens=true").await;
    snapshot("sync_templates_with_errors", &synced);
    let (new, accepted) = token_of(&home, &agent(&gateway)).await;
    assert!(accepted && is_accepted(&home, &old).await && new != old, "either may be what the agent has");
    gateway.set_faults(vec![]);
    gateway.refuse_dials(true);
    sync(&home, &path, "").await.assert_problem(502, "gateway_unreachable", Some("tcp"));
    home.world.audit().await;
}

#[tokio::test]
async fn a_session_is_begun_anew_where_the_gateway_allows_it() {
    for (version, errors) in [(Version::V2026_6_11, 0), (Version::V2026_9_6, 1)] {
        let (home, gateway) = (home().await, FakeGateway::start(Options::version(version)).await);
        let path = created(&home, &gateway).await;
        let synced = sync(&home, &path, "?reset_sessions=true").await;
        assert_eq!((synced.status, &synced.json["main_updated"]), (200, &json!(true)), "{}", synced.text);
        assert_eq!(synced.json["errors"].as_array().unwrap().len(), errors, "{version:?}: {}", synced.text);
        let key = format!("agent:{}:main", agent(&gateway).id);
        assert!(gateway.session_label(&key).is_some());
        home.world.audit().await;
    }
}

#[tokio::test]
async fn a_sync_is_asked_for_by_an_admin_and_with_known_parameters() {
    let (home, gateway) = (home().await, gateway().await);
    let path = created(&home, &gateway).await;
    let dials = gateway.dials();
    snapshot("unknown_board", &sync(&home, &path, "?board_id=x").await);
    sync(&home, &path, "?overwrite=maybe").await.assert_problem(400, "invalid_parameter", None);
    let nobody = "/api/v1/gateways/01a20e5b-be41-7f13-aa31-ef2cec8270e7";
    sync(&home, nobody, "").await.assert_problem(404, "not_found", None);
    let member = home.world.member(Role::Member).await;
    let request = home.world.http.post(home.world.url(&format!("{path}/templates/sync")));
    Answer::of(request.bearer_auth(member.expose())).await.assert_problem(403, "forbidden", None);
    let nothing = sync(&home, &path, "?include_main=false").await;
    assert_eq!((nothing.status, &nothing.json["main_updated"]), (200, &json!(false)), "{}", nothing.text);
    assert_eq!(gateway.dials(), dials);
    home.world.audit().await;
}
