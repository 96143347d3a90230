//! Every documented endpoint with every kind of token, by one rule: what the document says of its security, and that a
//! member reads, an admin changes, and nobody sees another organization.

use chrono::TimeDelta;
use harness::{
    contract::{Operation, operations},
    fake_gateway::FakeGateway,
    world::{Answer, World, body},
};
use reqwest::{Method, RequestBuilder};
use shared::{
    clock::{Clock as _, SystemClock},
    domain::organization::{Command, Role},
    ids::OrganizationId,
    install::manage,
    secret::Secret,
    token,
};

use super::{access::issue, gateway, home};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Unknown,
    Malformed,
    Expired,
    Revoked,
    Agent,
    Operator,
    Stranger,
    Member,
    Admin,
    Owner,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unauthenticated,
    Forbidden,
    NotFound,
    /// Neither of these.
    Heard,
}

/// The rule.
fn expected(who: Who, operation: &Operation) -> Verdict {
    use Verdict::{Forbidden, Heard, NotFound, Unauthenticated};
    use Who::{
        Admin, Agent, Expired, Malformed, Member, Nobody, Operator, Owner, Revoked, Stranger, Unknown,
    };
    let schemes = operation.schemes();
    let is_read = operation.method == Method::GET;
    // The log is also the operator's; everything else belongs to an organization.
    let is_log = operation.path.starts_with("/api/v1/events");
    let is_agents = schemes.contains(&"agent_token");
    let of_one = !operation.parameters("path").is_empty();
    if schemes.is_empty() {
        return Heard;
    }
    let may = match who {
        Nobody | Unknown | Malformed | Expired | Revoked => return Unauthenticated,
        Stranger if of_one && !is_agents => return NotFound,
        Agent => is_agents,
        Operator => is_log,
        Member => is_read && !is_agents,
        Stranger | Admin | Owner => !is_agents,
    };
    if may { Heard } else { Forbidden }
}

/// What there is of our organization.
struct Ours {
    gateway: String,
    operation: String,
    agent: String,
    position: String,
}

impl Ours {
    async fn of(world: &World, gateway: &FakeGateway) -> Self {
        let created = world.post(&body(gateway)).await;
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let id = text(&created.json["id"]);
        let event = world.get(&format!("/api/v1/gateways/{id}/events")).await.json["items"][0].clone();
        Self {
            gateway: id,
            operation: text(&event["operation"]),
            agent: text(&created.json["gateway_agent_id"]),
            position: event["position"].to_string(),
        }
    }

    fn path(&self, operation: &Operation) -> String {
        let filled = match operation.path.as_str() {
            path if path.starts_with("/api/v1/gateways") => &self.gateway,
            path if path.starts_with("/api/v1/operations") => &self.operation,
            path if path.starts_with("/api/v1/agents") => &self.agent,
            path if path.starts_with("/api/v1/events") => &self.position,
            "/docs/{file}" => "index.css",
            _ => "invalid_url",
        };
        operation.path_with(filled)
    }
}

struct Tokens {
    expired: Secret,
    revoked: Secret,
    agent: Secret,
    operator: Secret,
    stranger: Secret,
    member: Secret,
    admin: Secret,
}

impl Tokens {
    async fn of(world: &World, gateway: &FakeGateway) -> Self {
        let past = SystemClock.now() - TimeDelta::seconds(1);
        let (expired, _) = issue(world, world.organization, |token| token.expires_at = Some(past)).await;
        let (revoked, id) = issue(world, world.organization, |_| {}).await;
        let orders = vec![Command::RevokeToken { token: id }];
        manage(world.store.as_ref(), &SystemClock, Some(world.organization), orders, None).await.unwrap();
        let (operator, _) = issue(world, world.organization, |token| {
            token.member = None;
            token.operator = true;
        })
        .await;
        let other = OrganizationId::mint(SystemClock.now());
        let founding = vec![Command::Create { name: "Other".to_owned() }];
        manage(world.store.as_ref(), &SystemClock, Some(other), founding, None).await.unwrap();
        let (stranger, _) = issue(world, other, |_| {}).await;
        let agents = gateway.agents();
        let ours = agents.iter().find(|agent| agent.id.starts_with("agent-")).unwrap();
        let mut lines = ours.files.values().flat_map(|file| file.lines());
        let agent = lines.find_map(|line| line.strip_prefix("AUTH_TOKEN=")).unwrap();
        Self {
            expired,
            revoked,
            agent: agent.into(),
            operator,
            stranger,
            member: world.member(Role::Member).await,
            admin: world.member(Role::Admin).await,
        }
    }

    fn give(&self, world: &World, who: Who, request: RequestBuilder) -> RequestBuilder {
        let secret = match who {
            Who::Nobody => return request,
            Who::Malformed => return request.header("Authorization", "Basic b3duZXI6b3duZXI="),
            Who::Unknown => &token::api(),
            Who::Expired => &self.expired,
            Who::Revoked => &self.revoked,
            Who::Agent => &self.agent,
            Who::Operator => &self.operator,
            Who::Stranger => &self.stranger,
            Who::Member => &self.member,
            Who::Admin => &self.admin,
            Who::Owner => &world.owner,
        };
        request.bearer_auth(secret.expose())
    }
}

/// What makes a request valid for who must not be heard, and harmless for who is: nothing is changed by it.
fn harmless(operation: &Operation, verdict: Verdict) -> String {
    let query = operation.parameters("query");
    let mut switches =
        query.iter().filter(|parameter| parameter["schema"]["type"].to_string().contains("boolean"));
    match switches.next().filter(|_| verdict == Verdict::Heard) {
        Some(switch) => format!("?{}=perhaps", switch["name"].as_str().unwrap()),
        None => String::new(),
    }
}

#[tokio::test]
async fn every_endpoint_hears_whom_the_rule_lets_in_and_nobody_else() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let ours = Ours::of(world, &gateway).await;
    let tokens = Tokens::of(world, &gateway).await;
    let before = (changes(world).await, gateway.agents().len());
    let everybody = [
        Who::Nobody,
        Who::Unknown,
        Who::Malformed,
        Who::Expired,
        Who::Revoked,
        Who::Agent,
        Who::Operator,
        Who::Stranger,
        Who::Member,
        Who::Admin,
        Who::Owner,
    ];
    let mut asked = 0;
    for operation in operations().iter().filter(|operation| !operation.path.ends_with("/stream")) {
        for who in everybody {
            let verdict = expected(who, operation);
            let path = ours.path(operation) + &harmless(operation, verdict);
            let mut request = world.http.request(operation.method.clone(), world.url(&path));
            if operation.document["requestBody"].is_object() {
                request = request.header("Content-Type", "application/json").body("{}");
            }
            let answer = Answer::of(tokens.give(world, who, request)).await;
            let given = match answer.status {
                401 => Verdict::Unauthenticated,
                403 => Verdict::Forbidden,
                // Nothing collects metrics here.
                404 if operation.path != "/metrics" => Verdict::NotFound,
                _ => Verdict::Heard,
            };
            let at = format!("{who:?} {} {}: {}", operation.method, operation.path, answer.text);
            assert_eq!(given, verdict, "{at}");
            if given == Verdict::Unauthenticated {
                assert_eq!(answer.header("www-authenticate"), "Bearer", "{at}");
            }
            if who == Who::Stranger && given == Verdict::Heard && !operation.schemes().is_empty() {
                assert!(!answer.text.contains(&ours.gateway) && !answer.text.contains(&ours.agent), "{at}");
            }
            asked += 1;
        }
    }
    assert!(asked > 200, "{asked}");
    assert_eq!((changes(world).await, gateway.agents().len()), before, "nothing was changed");
}

/// How many events there are, but for those of an agent that calls.
async fn changes(world: &World) -> usize {
    world.log().await.iter().filter(|event| event.event_type != "MainAgentCheckedIn").count()
}

/// A stream does not end by itself, so only its beginning is looked at.
#[tokio::test]
async fn the_stream_of_events_hears_the_same() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let _ours = Ours::of(world, &gateway).await;
    let tokens = Tokens::of(world, &gateway).await;
    let operation = operations().into_iter().find(|operation| operation.path.ends_with("/stream")).unwrap();
    for (who, status) in [
        (Who::Nobody, 401),
        (Who::Unknown, 401),
        (Who::Malformed, 401),
        (Who::Expired, 401),
        (Who::Revoked, 401),
        (Who::Agent, 403),
        (Who::Operator, 200),
        (Who::Stranger, 200),
        (Who::Member, 200),
        (Who::Admin, 200),
    ] {
        let request = world.http.get(world.url(&operation.path));
        let answer = tokens.give(world, who, request).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{who:?}");
    }
}
