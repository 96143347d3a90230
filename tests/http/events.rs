//! The log over HTTP: pages, one event, and the stream; and that nobody sees another organization's.

use std::time::Duration;

use harness::world::{Answer, World, body};
use reqwest::RequestBuilder;
use shared::{
    clock::{Clock, SystemClock},
    domain::organization::{Command, Member, Role, Token},
    ids::{MemberId, OrganizationId, TokenId},
    install::manage,
    secret::Secret,
    token,
};

use super::{gateway, home};

/// Another organization and its owner's token.
pub(super) async fn stranger(world: &World) -> (OrganizationId, Secret) {
    let now = SystemClock.now();
    let (other, member, secret) = (OrganizationId::mint(now), MemberId::mint(now), token::api());
    let issued = Token {
        token: TokenId::mint(now),
        member: Some(member),
        role: None,
        operator: false,
        expires_at: None,
    };
    let orders = vec![
        Command::Create { name: "Other".to_owned() },
        Command::AddMember(Member { member, name: "eve".to_owned(), role: Role::Owner }),
        Command::IssueToken(issued),
    ];
    manage(world.store.as_ref(), &SystemClock, Some(other), orders, Some(&secret)).await.unwrap();
    (other, secret)
}

pub(super) fn ask(world: &World, path: &str, token: &Secret) -> RequestBuilder {
    world.http.get(world.url(path)).bearer_auth(token.expose())
}

/// Positions and names of a page.
fn shown(answer: &Answer) -> Vec<(u64, String)> {
    let items = answer.json["items"].as_array().unwrap();
    let one = |item: &serde_json::Value| {
        (item["position"].as_u64().unwrap(), item["type"].as_str().unwrap().to_owned())
    };
    items.iter().map(one).collect()
}

/// Reads a stream until so many events have come, and returns their ids.
pub(super) async fn follow(request: RequestBuilder, wanted: usize) -> Vec<u64> {
    let mut response = request.header("Accept", "text/event-stream").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let mut text = String::new();
    let reading = async {
        while text.matches("data: ").count() < wanted || !text.ends_with("\n\n") {
            let Some(chunk) = response.chunk().await.unwrap() else { break };
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
    let blocks = text.split("\n\n").filter(|block| block.contains("data: "));
    let id = |block: &str| block.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().parse().unwrap();
    blocks.map(id).collect()
}

#[tokio::test]
async fn the_log_is_shown_in_order_and_narrowed_by_every_filter() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let before = SystemClock.now();
    let created = world.post(&body(&gateway)).await;
    let member = world.member(Role::Member).await;
    let get = async |query: &str| Answer::of(ask(world, &format!("/api/v1/events?{query}"), &member)).await;
    let all = get("").await;
    assert_eq!(all.status, 200, "{}", all.text);
    let names: Vec<String> = shown(&all).into_iter().map(|(_, name)| name).collect();
    assert!(names.iter().any(|name| name == "GatewayCreated"), "{names:?}");
    let id = created.json["id"].as_str().unwrap();
    let stream = get(&format!("stream=gateway-{id}")).await;
    assert_eq!(shown(&stream).len(), 4);
    let operation = stream.json["items"][0]["operation"].as_str().unwrap();
    let actor = stream.json["items"][0]["actor"]["id"].as_str().unwrap();
    assert_eq!(shown(&get(&format!("operation={operation}")).await), shown(&stream));
    assert_eq!(shown(&get(&format!("actor={actor}")).await), shown(&stream)[..1]);
    assert_eq!(shown(&get("type=GatewayCreated").await), shown(&stream)[3..]);
    let since = shared::clock::rfc3339(before);
    assert_eq!(shown(&get(&format!("since={since}&stream=gateway-{id}")).await), shown(&stream));
    assert_eq!(shown(&get(&format!("until={since}&stream=gateway-{id}")).await), []);
    let second = get(&format!("limit=2&after={}&stream=gateway-{id}", shown(&stream)[0].0)).await;
    assert_eq!(shown(&second), shown(&stream)[1..3]);
    assert_eq!(second.json["next"], shown(&stream)[2].0);
    for bad in
        ["limit=0", "after=-1", "type=%00", "stream=", "actor=a%20b", "operation=x", "since=now", "until="]
    {
        get(bad).await.assert_problem(400, "invalid_parameter", None);
    }
}

#[tokio::test]
async fn nobody_sees_another_organizations_events() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let created = world.post(&body(&gateway)).await;
    let (other, eve) = stranger(world).await;
    let whole = world.get("/api/v1/events?limit=1000").await;
    let theirs: Vec<u64> = whole.json["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["organization_id"] == other.to_string())
        .map(|event| event["position"].as_u64().unwrap())
        .collect();
    assert_eq!(theirs.len(), 3);
    assert!(shown(&whole).len() > 7, "the operator sees the whole log");
    let id = created.json["id"].as_str().unwrap();
    let ours = world.get(&format!("/api/v1/gateways/{id}/events")).await;
    let operation = ours.json["items"][0]["operation"].as_str().unwrap();
    let organization = world.organization;
    for query in [
        String::new(),
        format!("stream=gateway-{id}"),
        format!("stream=organization-{}", organization.uuid()),
        format!("operation={operation}"),
        "type=GatewayCreated".to_owned(),
        format!("organization={organization}&organization_id={organization}&operator=true"),
        "after=1".to_owned(),
        "since=1970-01-01T00:00:00Z".to_owned(),
    ] {
        for (name, value) in
            [("X-Organization-Id", organization.to_string()), ("Last-Event-ID", "0".to_owned())]
        {
            let request = ask(world, &format!("/api/v1/events?{query}"), &eve).header(name, value);
            let seen = Answer::of(request).await;
            let seen: Vec<u64> = shown(&seen).into_iter().map(|(position, _)| position).collect();
            assert!(seen.iter().all(|position| theirs.contains(position)), "{query}: {seen:?}");
        }
    }
    for position in shown(&whole).into_iter().map(|(position, _)| position) {
        let answer = Answer::of(ask(world, &format!("/api/v1/events/{position}"), &eve)).await;
        assert_eq!(answer.status == 200, theirs.contains(&position), "{position}: {}", answer.text);
    }
    for nothing in ["0", "x", "99999", "-1", "18446744073709551615"] {
        let answer = Answer::of(ask(world, &format!("/api/v1/events/{nothing}"), &eve)).await;
        answer.assert_problem(404, "not_found", None);
    }
    let followed = follow(ask(world, "/api/v1/events/stream", &eve).header("Last-Event-ID", "0"), 3).await;
    assert_eq!(followed, theirs);
}

#[tokio::test]
async fn a_stream_resumes_strictly_after_its_last_event() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let stream = |after: u64| {
        ask(world, "/api/v1/events/stream", &world.owner).header("Last-Event-ID", after.to_string())
    };
    let head = world.store.head().await.unwrap().position;
    let body = body(&gateway);
    let (followed, created) = tokio::join!(follow(stream(head), 4), world.post(&body));
    assert_eq!(created.status, 200);
    assert_eq!(followed, (head + 1..=head + 4).collect::<Vec<_>>());
    assert_eq!(follow(stream(0), 7).await, (1..=head + 4).collect::<Vec<_>>());
    assert_eq!(follow(stream(head + 2), 2).await, [head + 3, head + 4]);
    for bad in ["x", "-1", &(head + 5).to_string()] {
        let request = ask(world, "/api/v1/events/stream", &world.owner).header("Last-Event-ID", bad);
        Answer::of(request).await.assert_problem(400, "invalid_parameter", None);
    }
    let anonymous = world.http.get(world.url("/api/v1/events/stream"));
    Answer::of(anonymous).await.assert_problem(401, "unauthenticated", None);
}

#[tokio::test]
async fn a_position_that_is_no_longer_kept_is_told() {
    let home = home().await;
    home.store.lose_event(1).await;
    home.store.lose_event(2).await;
    let ask = |after: &str| {
        let request = ask(&home.world, "/api/v1/events/stream", &home.world.owner);
        request.header("Last-Event-ID", after.to_owned())
    };
    Answer::of(ask("1")).await.assert_problem(410, "position_gone", None);
    assert_eq!(follow(ask("2"), 1).await, [3]);
}
