//! Nobody sees another organization's events: not by a parameter, a header or a cursor, not as a page, as one event, as a
//! stream that resumes, or as a stream that goes on.

use harness::world::{Answer, World, body};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    clock::{Clock, SystemClock},
    domain::organization::{Command, Member, Role},
    envelope::Recorded,
    ids::{MemberId, OrganizationId},
    install::manage,
    secret::Secret,
};

use super::{
    events::{ask, follow, stranger},
    gateway, home,
};

/// What is in the log of the organization that must not be seen, and in that of the one that tries to.
struct Log {
    ours: Vec<Recorded>,
    theirs: Vec<Recorded>,
}

async fn log(world: &World, other: OrganizationId) -> Log {
    let whole = world.store.log_page(0, 1_000).await.unwrap();
    let (theirs, ours) = whole.into_iter().partition(|event| event.organization == Some(other));
    Log { ours, theirs }
}

impl Log {
    /// Everything by which an event of ours can be asked for or known again.
    fn marks(&self) -> Vec<String> {
        let of = |event: &Recorded| {
            let metadata = event.parse_metadata().unwrap();
            let operation = metadata.operation.map(|id| id.to_string());
            let shared = [event.event_id.to_string(), event.stream.to_string(), event.hash.to_string()];
            shared.into_iter().chain(operation).chain(metadata.request_id)
        };
        let mut marks: Vec<String> = self.ours.iter().flat_map(of).collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }

    fn their_positions(&self) -> Vec<u64> {
        self.theirs.iter().map(|event| event.position).collect()
    }
}

/// Every value of every parameter that names something of ours, and what a client might hope for beside.
fn queries(log: &Log, organization: OrganizationId) -> Vec<String> {
    let mut queries = vec![
        String::new(),
        "after=0".to_owned(),
        "limit=1000".to_owned(),
        "since=1970-01-01T00:00:00Z".to_owned(),
        "until=2999-01-01T00:00:00Z".to_owned(),
        "actor=command-line".to_owned(),
        "operator=true&all=true&admin=1".to_owned(),
    ];
    let names = ["organization", "organization_id", "organizationId", "org", "tenant", "owner"];
    queries.extend(names.map(|name| format!("{name}={organization}")));
    queries.extend(names.map(|name| format!("{name}=")));
    for event in &log.ours {
        let metadata = event.parse_metadata().unwrap();
        queries.push(format!("after={}", event.position - 1));
        queries.push(format!("type={}", event.event_type));
        queries.push(format!("stream={}", event.stream));
        queries.push(format!("actor={}", metadata.actor.id));
        queries.push(format!("stream={}&organization_id={organization}&after=0", event.stream));
        if let Some(operation) = metadata.operation {
            queries.push(format!("operation={operation}"));
            queries.push(format!("operation={operation}&stream={}&type={}", event.stream, event.event_type));
        }
    }
    queries.sort_unstable();
    queries.dedup();
    queries
}

fn headers(organization: OrganizationId) -> Vec<(&'static str, String)> {
    let id = organization.to_string();
    vec![
        ("X-Organization-Id", id.clone()),
        ("X-Org-Id", id.clone()),
        ("X-Tenant", id.clone()),
        ("X-Forwarded-User", "Owner".to_owned()),
        ("Cookie", format!("organization={id}")),
        ("Last-Event-ID", "0".to_owned()),
        ("X-HTTP-Method-Override", "GET".to_owned()),
    ]
}

/// Fails if an answer holds anything of ours that was not in the question.
#[track_caller]
fn assert_silent(question: &str, answer: &Answer, marks: &[String]) {
    let told = marks.iter().find(|mark| !question.contains(*mark) && answer.text.contains(*mark));
    assert_eq!(told, None, "{question}: {}", answer.text);
}

#[tokio::test]
async fn no_parameter_header_or_cursor_shows_a_page_of_another_organizations_log() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    assert_eq!(world.post(&body(&gateway)).await.status, 200);
    let (other, eve) = stranger(world).await;
    let log = log(world, other).await;
    let (marks, theirs) = (log.marks(), log.their_positions());
    assert!(log.ours.len() >= 7 && theirs.len() == 3, "there is something to see");
    for query in queries(&log, world.organization) {
        let path = format!("/api/v1/events?{query}");
        // It is there, for those who may see it.
        assert_ne!(world.get(&path).await.json["items"], json!([]), "{path}");
        for (name, value) in headers(world.organization) {
            let answer = Answer::of(ask(world, &path, &eve).header(name, value)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            let seen = answer.json["items"].as_array().unwrap();
            let is_theirs = |event: &Value| theirs.contains(&event["position"].as_u64().unwrap());
            assert!(seen.iter().all(is_theirs), "{path}, {name}: {}", answer.text);
            assert_silent(&path, &answer, &marks);
        }
    }
    for event in &log.ours {
        for (name, value) in headers(world.organization) {
            let path = format!("/api/v1/events/{}", event.position);
            assert_eq!(world.get(&path).await.status, 200, "{path}");
            let answer = Answer::of(ask(world, &path, &eve).header(name, value)).await;
            answer.assert_problem(404, "not_found", None);
            assert_silent(&path, &answer, &marks);
        }
    }
}

#[tokio::test]
async fn nothing_that_is_another_organizations_is_shown_or_changed_by_its_id_or_cursor() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let created = world.post(&body(&gateway)).await;
    assert_eq!(world.post(&body(&gateway)).await.status, 200);
    let (other, eve) = stranger(world).await;
    let marks = log(world, other).await.marks();
    let (id, agent) =
        (created.json["id"].as_str().unwrap(), created.json["gateway_agent_id"].as_str().unwrap());
    let page = world.get("/api/v1/operations?limit=1").await;
    let operation = page.json["items"][0]["id"].as_str().unwrap();
    let cursor = page.json["next"].as_str().unwrap();
    let before = world.store.head().await.unwrap();
    for path in [
        format!("/api/v1/operations?cursor={cursor}"),
        format!("/api/v1/operations?cursor={cursor}&organization_id={}", world.organization),
        "/api/v1/operations?status=succeeded&limit=100".to_owned(),
        "/api/v1/gateways?limit=100&offset=0".to_owned(),
        "/api/v1/agents?limit=100".to_owned(),
    ] {
        assert_ne!(world.get(&path).await.json["items"], json!([]), "{path}");
        let answer = Answer::of(ask(world, &path, &eve)).await;
        assert_eq!(answer.json["items"], json!([]), "{path}: {}", answer.text);
    }
    let gateways = format!("/api/v1/gateways/{id}");
    for (method, path) in [
        (Method::GET, gateways.clone()),
        (Method::GET, format!("{gateways}/status")),
        (Method::GET, format!("{gateways}/events")),
        (Method::GET, format!("{gateways}/events?after=0&limit=1000")),
        (Method::PATCH, gateways.clone()),
        (Method::DELETE, gateways.clone()),
        (Method::DELETE, format!("{gateways}?force=true")),
        (Method::POST, format!("{gateways}/retry")),
        (Method::POST, format!("{gateways}/templates/sync")),
        (Method::GET, format!("/api/v1/operations/{operation}")),
        (Method::POST, format!("/api/v1/operations/{operation}/cancel")),
        (Method::GET, format!("/api/v1/agents/{agent}")),
    ] {
        for (name, value) in headers(world.organization) {
            let request = world.http.request(method.clone(), world.url(&path)).bearer_auth(eve.expose());
            let request =
                if method == Method::PATCH { request.json(&json!({"name": "mine"})) } else { request };
            let answer = Answer::of(request.header(name, value)).await;
            answer.assert_problem(404, "not_found", None);
            assert_silent(&path, &answer, &marks);
        }
    }
    assert_eq!(world.store.head().await.unwrap(), before, "nothing was recorded");
}

async fn add_member(world: &World, organization: OrganizationId) {
    let member =
        Member { member: MemberId::mint(SystemClock.now()), name: "new".to_owned(), role: Role::Member };
    let orders = vec![Command::AddMember(member)];
    manage(world.store.as_ref(), &SystemClock, Some(organization), orders, None).await.unwrap();
}

/// What a stream shows until the other organization's own event, which comes last.
async fn streamed(world: &World, token: &Secret, query: &str, after: u64, wanted: usize) -> Vec<u64> {
    let request = ask(world, &format!("/api/v1/events/stream?{query}"), token);
    follow(request.header("Last-Event-ID", after.to_string()), wanted).await
}

#[tokio::test]
async fn no_stream_shows_another_organizations_events_wherever_it_resumes_and_whatever_goes_on() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let (other, eve) = stranger(world).await;
    let created = world.post(&body(&gateway)).await;
    assert_eq!(created.status, 200);
    add_member(world, other).await;
    let log = log(world, other).await;
    let theirs = log.their_positions();
    for after in 0..*theirs.last().unwrap() {
        let due: Vec<u64> = theirs.iter().copied().filter(|position| *position > after).collect();
        let organization = world.organization;
        for query in [String::new(), format!("organization_id={organization}"), format!("after={after}")] {
            assert_eq!(streamed(world, &eve, &query, after, due.len()).await, due, "after {after}, {query}");
        }
    }
    // What goes on: filters that fit our events, and after them one of theirs, which fits too.
    let head = world.store.head().await.unwrap().position;
    for query in ["", "type=MemberAdded", "actor=command-line", "since=1970-01-01T00:00:00Z"] {
        let before = world.store.head().await.unwrap().position;
        let live = streamed(world, &eve, query, before, 1);
        let goes_on = async {
            add_member(world, world.organization).await;
            assert_eq!(world.post(&body(&gateway)).await.status, 200);
            add_member(world, world.organization).await;
            add_member(world, other).await;
            world.store.head().await.unwrap().position
        };
        let (seen, last) = tokio::join!(live, goes_on);
        assert_eq!(seen, [last], "{query}");
    }
    assert!(world.store.head().await.unwrap().position >= head + 4 * 7);
}
