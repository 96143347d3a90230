//! The OpenAPI document is what the router does, no more and no less.

use std::collections::{BTreeMap, BTreeSet};

use harness::{
    contract::{Operation, operations},
    world::{Answer, Setup, World, body},
};
use reqwest::Method;
use shared::domain::organization::Role;

use super::{Home, gateway, home, home_with};

/// Every path and its methods.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let mut paths: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in operations() {
        paths.entry(operation.path.clone()).or_default().insert(operation.method.to_string());
    }
    paths
}

/// An id that is well-formed and nobody's, or a text where ids are none.
pub(super) fn nobody(operation: &Operation) -> &'static str {
    match operation.path.as_str() {
        "/api/v1/events/{position}" => "9000000000",
        "/api/v1/agents/{id}" => "agent-01ARZ3NDEKTSV4RRFFQ69G5FAV",
        path if path.starts_with("/api/") => "01a20e5b-be41-7f13-aa31-ef2cec8270e7",
        _ => "nothing",
    }
}

fn request(world: &World, operation: &Operation, path: &str) -> reqwest::RequestBuilder {
    world.http.request(operation.method.clone(), world.url(path)).bearer_auth(world.owner.expose())
}

#[test]
fn no_parameter_may_be_null() {
    let of_each =
        operations().into_iter().filter_map(|operation| operation.document["parameters"].as_array());
    let parameters: Vec<_> = of_each.flatten().collect();
    assert!(parameters.len() > 20);
    for parameter in parameters {
        assert!(parameter["schema"]["type"].is_string(), "{parameter}");
    }
}

#[tokio::test]
async fn every_path_that_is_served_is_documented() {
    let home = home().await;
    // A router does not list its paths, but it prints them.
    let printed = format!("{:?}", api::routes::router(home.world.app.clone()));
    let named = printed.split("RouteId(").filter_map(|part| part.split_once("): \"")?.1.split('"').next());
    let served: BTreeSet<String> =
        named.filter(|path| !path.contains("__private__") && *path != "/").map(str::to_owned).collect();
    let documented: BTreeSet<String> = documented().into_keys().collect();
    assert_eq!(served, documented);
    // What is left over, printed as a path too.
    home.world.get("/").await.assert_problem(404, "not_found", None);
}

#[tokio::test]
async fn every_path_answers_the_documented_methods_and_no_other() {
    let home = home().await;
    let world = &home.world;
    for (path, mut methods) in documented() {
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        let concrete = path.replace("{position}", "9000000000").replace("{code}", "invalid_url");
        let concrete = concrete.replace("{id}", "x").replace("{file}", "index.css");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"] {
            let asked: Method = method.parse().unwrap();
            let answer = world.http.request(asked, world.url(&concrete)).send().await.unwrap();
            let status = answer.status().as_u16();
            assert_eq!(status == 405, !methods.contains(method), "{method} {path}: {status}");
            if status == 405 {
                let allow = answer.headers()["allow"].to_str().unwrap().to_owned();
                let allowed: BTreeSet<String> = allow.split(',').map(|name| name.trim().to_owned()).collect();
                assert_eq!(allowed, methods, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let (home, gateway) = (home().await, gateway().await);
    let id = home.world.post(&body(&gateway)).await.json["id"].as_str().unwrap().to_owned();
    for path in ["/api/v1/gateways", &format!("/api/v1/gateways/{id}"), "/healthz", "/openapi.json", "/docs/"]
    {
        let ask = |method| home.world.http.request(method, home.world.url(path));
        let [get, head] = [Method::GET, Method::HEAD]
            .map(|method| Answer::of(ask(method).bearer_auth(home.world.owner.expose())));
        let (get, head) = (get.await, head.await);
        assert_eq!((get.status, head.status, head.text.as_str()), (200, 200, ""), "{path}");
        for name in ["content-type", "etag", "cache-control"] {
            assert_eq!(get.header(name), head.header(name), "{path}");
        }
    }
}

#[tokio::test]
async fn the_document_says_who_may_and_what_goes_wrong() {
    for operation in operations() {
        let at = format!("{} {}", operation.method, operation.path);
        let statuses = operation.statuses();
        let is_api = operation.path.starts_with("/api/");
        let is_agents = operation.path.starts_with("/api/v1/agent/");
        let schemes = match (is_api, is_agents) {
            (true, true) => vec!["agent_token", "agent_bearer"],
            (true, false) => vec!["bearer"],
            (false, _) => vec![],
        };
        assert_eq!(operation.schemes(), schemes, "{at}");
        for status in [401, 403, 406, 429, 500, 503] {
            assert!(!is_api || statuses.contains(&status), "{at}: {status}");
        }
        let has = |place: &str, name: &str| {
            operation.parameters(place).iter().any(|parameter| parameter["name"] == name)
        };
        let has_body = operation.document["requestBody"].is_object();
        let prefers = has("header", "Prefer");
        let is_read = operation.method == Method::GET;
        for (status, applies) in [
            (202, prefers && !is_read),
            (304, has("header", "If-None-Match")),
            (400, has_body || operation.parameters("query").iter().any(|query| query["name"] != "")),
            (404, !operation.parameters("path").is_empty()),
            (408, has_body),
            (412, has("header", "If-Match")),
            (413, has_body),
            (415, has_body),
            (502, prefers && !is_read),
        ] {
            let is_known = [("/metrics", 404)].contains(&(operation.path.as_str(), status));
            assert_eq!(statuses.contains(&status) && !is_known, applies, "{at}: {status}");
        }
        for (status, response) in operation.document["responses"].as_object().unwrap() {
            let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
            let is_problem = status.parse::<u16>().unwrap() >= 400;
            assert_eq!(problem == "#/components/schemas/Problem", is_problem, "{at}: {status}");
            assert!(!response["description"].as_str().unwrap().is_empty(), "{at}: {status}");
        }
    }
}

/// What is answered to a question that is wrong in the way of this status; `None` where only its own test can tell.
async fn provoked(home: &Home, member: &str, operation: &Operation, status: u16) -> Option<Answer> {
    let world = &home.world;
    let path = operation.path_with(nobody(operation));
    let ask = || request(world, operation, &path);
    let json = || ask().header("Content-Type", "application/json");
    let agents = operation.path.starts_with("/api/v1/agent/");
    let bare = || world.http.request(operation.method.clone(), world.url(&path));
    Some(match status {
        400 if operation.document["requestBody"].is_object() => Answer::of(json().body("{")).await,
        400 => {
            let name = operation.parameters("query")[0]["name"].as_str().unwrap();
            Answer::of(request(world, operation, &format!("{path}?{name}=?"))).await
        }
        401 if operation.path == "/metrics" => return None,
        401 => Answer::of(bare()).await,
        403 if operation.method == Method::GET && !agents => return None,
        403 => Answer::of(bare().bearer_auth(member)).await,
        404 if operation.path == "/metrics" || operation.method == Method::PATCH => return None,
        404 => Answer::of(ask()).await,
        406 => Answer::of(ask().header("Accept", "text/html")).await,
        408 => {
            let endless = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            Answer::of(json().body(reqwest::Body::wrap_stream(endless))).await
        }
        413 => Answer::of(json().body("x".repeat(70_000))).await,
        415 => Answer::of(ask().header("Content-Type", "text/plain").body("{}")).await,
        _ => return None,
    })
}

#[tokio::test]
async fn what_is_documented_for_every_endpoint_is_reached_on_every_endpoint() {
    let mut setup = Setup::default();
    setup.api.body_wait = std::time::Duration::from_millis(50);
    let home = home_with(setup).await;
    let member = home.world.member(Role::Member).await;
    let mut reached = 0;
    for operation in operations() {
        for status in operation.statuses() {
            if let Some(answer) = provoked(&home, member.expose(), &operation, status).await {
                let at = format!("{} {}", operation.method, operation.path);
                assert_eq!(answer.status, status, "{at}: {}", answer.text);
                answer.assert_problem(status, answer.code(), None);
                reached += 1;
            }
        }
    }
    assert!(reached > 70, "{reached}");
}

#[tokio::test]
async fn without_a_database_every_endpoint_that_needs_one_says_so() {
    let home = home_with(Setup { worker: false, ..Setup::default() }).await;
    home.world.store.close().await;
    for operation in operations() {
        let path = operation.path_with(nobody(&operation));
        let needs = operation.statuses().contains(&503);
        let answer = Answer::of(request(&home.world, &operation, &path)).await;
        assert_eq!(answer.status == 503, needs, "{} {path}: {}", operation.method, answer.text);
        if needs {
            answer.assert_problem(503, "store_unavailable", None);
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
}
