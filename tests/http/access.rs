//! Who may: tokens, roles, organizations, methods, and the ids of requests.

use chrono::TimeDelta;
use harness::world::{Answer, World, body};
use shared::{
    clock::{Clock, SystemClock},
    domain::organization::{Command, Member, Role, Token},
    ids::{MemberId, OrganizationId, TokenId},
    install::manage,
    secret::Secret,
    token,
};

use super::{gateway, home, snapshot};

/// Makes a token that differs from a new owner's one.
pub(super) async fn issue(
    world: &World,
    organization: OrganizationId,
    change: impl FnOnce(&mut Token),
) -> (Secret, TokenId) {
    let clock = SystemClock;
    let now = clock.now();
    let (member, id, secret) = (MemberId::mint(now), TokenId::mint(now), token::api());
    let mut issued = Token { token: id, member: Some(member), role: None, operator: false, expires_at: None };
    change(&mut issued);
    let mut orders = vec![];
    if issued.member.is_some() {
        orders.push(Command::AddMember(Member { member, name: "ada".to_owned(), role: Role::Owner }));
    }
    orders.push(Command::IssueToken(issued.clone()));
    let owner = issued.member.map(|_| organization);
    manage(world.store.as_ref(), &clock, owner, orders, Some(&secret)).await.unwrap();
    (secret, id)
}

async fn get(world: &World, path: &str, token: &str) -> Answer {
    Answer::of(world.http.get(world.url(path)).bearer_auth(token)).await
}

#[tokio::test]
async fn a_token_must_be_there_known_current_and_not_revoked() {
    let home = home().await;
    let world = &home.world;
    let list = || world.http.get(world.url("/api/v1/gateways"));
    snapshot("unauthenticated", &Answer::of(list()).await);
    for request in [
        list().header("Authorization", "Basic b3duZXI6b3duZXI="),
        list().header("Authorization", "Bearer"),
        list().bearer_auth("mc_000000000000000000000000000000000000"),
        list().bearer_auth(world.owner.expose()).header("Authorization", "Bearer again"),
    ] {
        let answer = Answer::of(request).await;
        answer.assert_problem(401, "unauthenticated", None);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let past = SystemClock.now() - TimeDelta::seconds(1);
    let (expired, _) = issue(world, world.organization, |token| token.expires_at = Some(past)).await;
    get(world, "/api/v1/gateways", expired.expose()).await.assert_problem(401, "unauthenticated", None);
    let (revoked, id) = issue(world, world.organization, |_| {}).await;
    assert_eq!(get(world, "/api/v1/gateways", revoked.expose()).await.status, 200);
    let orders = vec![Command::RevokeToken { token: id }];
    manage(world.store.as_ref(), &SystemClock, Some(world.organization), orders, None).await.unwrap();
    get(world, "/api/v1/gateways", revoked.expose()).await.assert_problem(401, "unauthenticated", None);
}

#[tokio::test]
async fn only_admins_and_owners_may_create() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let post = |token: &str| {
        Answer::of(world.http.post(world.url("/api/v1/gateways")).bearer_auth(token).json(&body(&gateway)))
    };
    let member = world.member(Role::Member).await;
    snapshot("forbidden", &post(member.expose()).await);
    assert_eq!(get(world, "/api/v1/gateways", member.expose()).await.status, 200);
    let (capped, _) = issue(world, world.organization, |token| token.role = Some(Role::Member)).await;
    post(capped.expose()).await.assert_problem(403, "forbidden", None);
    let (operator, _) = issue(world, world.organization, |token| {
        token.member = None;
        token.operator = true;
    })
    .await;
    post(operator.expose()).await.assert_problem(403, "forbidden", None);
    assert_eq!(gateway.dials(), 0);
    let admin = world.member(Role::Admin).await;
    assert_eq!(post(admin.expose()).await.status, 200);
}

#[tokio::test]
async fn an_agents_token_is_no_key_to_the_organization() {
    let (home, gateway) = (home().await, gateway().await);
    let created = home.world.post(&body(&gateway)).await;
    assert_eq!(created.status, 200);
    let agents = gateway.agents();
    let ours = agents.iter().find(|agent| agent.id.starts_with("agent-")).unwrap();
    let text: String = ours.files.values().cloned().collect::<Vec<_>>().join("\n");
    let token = text.lines().find_map(|line| line.strip_prefix("AUTH_TOKEN=")).unwrap();
    assert!(token.starts_with("mca_"), "{token}");
    get(&home.world, "/api/v1/gateways", token).await.assert_problem(403, "forbidden", None);
}

#[tokio::test]
async fn another_organization_sees_nothing_and_is_told_nothing() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let created = world.post(&body(&gateway)).await;
    let other = OrganizationId::mint(SystemClock.now());
    let founding = vec![Command::Create { name: "Other".to_owned() }];
    manage(world.store.as_ref(), &SystemClock, Some(other), founding, None).await.unwrap();
    let (stranger, _) = issue(world, other, |_| {}).await;
    let id = created.json["id"].as_str().unwrap();
    let agent = created.json["gateway_agent_id"].as_str().unwrap();
    let events = world.get(&format!("/api/v1/gateways/{id}/events")).await;
    let operation = events.json["items"][0]["operation"].as_str().unwrap();
    let nobody = "01a20e5b-be41-7f13-aa31-ef2cec8270e7";
    for (theirs, nobodys) in [
        (format!("/api/v1/gateways/{id}"), format!("/api/v1/gateways/{nobody}")),
        (format!("/api/v1/gateways/{id}/events"), format!("/api/v1/gateways/{nobody}/events")),
        (format!("/api/v1/operations/{operation}"), format!("/api/v1/operations/{nobody}")),
        (format!("/api/v1/agents/{agent}"), "/api/v1/agents/agent-01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
    ] {
        assert_eq!(world.get(&theirs).await.status, 200);
        let refused = get(world, &theirs, stranger.expose()).await;
        refused.assert_problem(404, "not_found", None);
        // The same words, so that not even the existence can be told.
        let unknown = get(world, &nobodys, stranger.expose()).await;
        let plain =
            |answer: &Answer| answer.json["detail"].as_str().unwrap().replace(id, "").replace(nobody, "");
        assert_eq!(plain(&refused), plain(&unknown));
    }
    let list = get(world, "/api/v1/gateways", stranger.expose()).await;
    assert_eq!(list.json["total"], 0);
}

#[tokio::test]
async fn wrong_paths_methods_and_ids_are_problems_too() {
    let home = home().await;
    let world = &home.world;
    snapshot("not_found", &world.get("/api/v1/nothing").await);
    for path in
        ["/api/v1/gateways/x", "/api/v1/operations/x", "/api/v1/agents/x", "/api/v1/gateways/x/events"]
    {
        world.get(path).await.assert_problem(404, "not_found", None);
    }
    let put = world.http.put(world.url("/api/v1/gateways")).bearer_auth(world.owner.expose());
    snapshot("method_not_allowed", &Answer::of(put).await);
    let html = world
        .http
        .get(world.url("/api/v1/gateways"))
        .bearer_auth(world.owner.expose())
        .header("Accept", "text/html");
    snapshot("not_acceptable", &Answer::of(html).await);
    let stream = world.http.get(world.url("/api/v1/events/stream")).bearer_auth(world.owner.expose());
    let json = Answer::of(stream.header("Accept", "application/json")).await;
    json.assert_problem(406, "not_acceptable", None);
    let any = world.http.get(world.url("/api/v1/gateways")).bearer_auth(world.owner.expose());
    assert_eq!(Answer::of(any.header("Accept", "text/html, */*;q=0.1")).await.status, 200);
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_one() {
    let home = home().await;
    let ask = |id: &str| {
        let id = reqwest::header::HeaderValue::from_bytes(id.as_bytes()).unwrap();
        Answer::of(home.world.http.get(home.world.url("/api/v1/gateways")).header("X-Request-Id", id))
    };
    let kept = ask("order-4711").await;
    assert_eq!(
        (kept.header("x-request-id"), kept.json["request_id"].as_str()),
        ("order-4711", Some("order-4711"))
    );
    for bad in [&"x".repeat(129), "a b", "é"] {
        let replaced = ask(bad).await;
        let id = replaced.header("x-request-id");
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{id}");
        assert_eq!(replaced.json["request_id"], id);
    }
}
