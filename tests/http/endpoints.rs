//! What every endpoint answers when all is well.

use harness::world::body;
use serde_json::Value;

use super::{gateway, home, snapshot};

#[tokio::test]
async fn a_gateway_is_created_shown_listed_and_explained() {
    let (home, gateway) = (home().await, gateway().await);
    let world = &home.world;
    let created = world.post(&body(&gateway)).await;
    snapshot("create_gateway", &created);
    let fields: Vec<&String> = created.json.as_object().unwrap().keys().take(10).collect();
    assert_eq!(
        fields,
        [
            "id",
            "organization_id",
            "name",
            "url",
            "workspace_root",
            "gateway_agent_id",
            "allow_insecure_tls",
            "disable_device_pairing",
            "created_at",
            "updated_at"
        ]
    );
    let id = created.json["id"].as_str().unwrap();
    let shown = world.get(&format!("/api/v1/gateways/{id}")).await;
    snapshot("get_gateway", &shown);
    assert_eq!(shown.json, created.json);
    snapshot("list_gateways", &world.get("/api/v1/gateways").await);
    let events = world.get(&format!("/api/v1/gateways/{id}/events")).await;
    snapshot("list_gateway_events", &events);
    let operation = events.json["items"][0]["operation"].as_str().unwrap();
    let operation = world.get(&format!("/api/v1/operations/{operation}")).await;
    snapshot("get_operation", &operation);
    assert_eq!(operation.json["result"], created.json);
    let agent = created.json["gateway_agent_id"].as_str().unwrap();
    snapshot("get_agent", &world.get(&format!("/api/v1/agents/{agent}")).await);
    world.audit().await;
}

#[tokio::test]
async fn health_and_documentation_are_open() {
    let home = home().await;
    let open = |path: &str| harness::world::Answer::of(home.world.http.get(home.world.url(path)));
    snapshot("healthz", &open("/healthz").await);
    snapshot("readyz", &open("/readyz").await);
    snapshot("problem_page", &open("/problems/invalid_url").await);
    snapshot("problem_page_unknown", &open("/problems/nothing").await);
    let openapi = open("/openapi.json").await;
    assert_eq!((openapi.status, openapi.json["openapi"].as_str()), (200, Some("3.1.0")));
    let reader = open("/docs/").await;
    assert_eq!(reader.status, 200);
    assert!(!reader.text.contains("https://"), "the reader must work offline: {}", reader.text);
}

#[tokio::test]
async fn the_documented_paths_are_those_of_the_contract() {
    let openapi: Value = serde_json::to_value(api::routes::openapi()).unwrap();
    let mut paths = vec![];
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let mut statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
            statuses.sort();
            paths.push(format!("{} {path} {statuses:?}", method.to_uppercase()));
        }
    }
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("paths", paths.join("\n"));
    });
}

#[tokio::test]
async fn a_page_of_events_continues_where_the_last_one_ended() {
    let (home, gateway) = (home().await, gateway().await);
    let created = home.world.post(&body(&gateway)).await;
    let path = format!("/api/v1/gateways/{}/events", created.json["id"].as_str().unwrap());
    let all = home.world.get(&path).await.json["items"].as_array().unwrap().clone();
    let mut paged = vec![];
    let mut after = Value::from(0);
    while !after.is_null() {
        let page = home.world.get(&format!("{path}?limit=3&after={after}")).await;
        paged.extend(page.json["items"].as_array().unwrap().clone());
        after = page.json["next"].clone();
    }
    assert_eq!(paged, all);
    assert_eq!(all.len(), 4);
}

#[tokio::test]
async fn lists_are_paged_newest_first() {
    let (home, gateway) = (home().await, gateway().await);
    for number in 1..=3 {
        let mut body = body(&gateway);
        body["name"] = format!("gateway {number}").into();
        assert_eq!(home.world.post(&body).await.status, 200);
    }
    let page = home.world.get("/api/v1/gateways?limit=2&offset=1").await;
    let names: Vec<&str> =
        page.json["items"].as_array().unwrap().iter().filter_map(|item| item["name"].as_str()).collect();
    assert_eq!(names, ["gateway 2", "gateway 1"]);
    assert_eq!((page.json["total"].as_u64(), page.json["limit"].as_u64()), (Some(3), Some(2)));
    for bad in ["limit=0", "limit=101", "limit=x", "limit=1&limit=2", "offset=-1", "limit=5&offset=x"] {
        let refused = home.world.get(&format!("/api/v1/gateways?{bad}")).await;
        refused.assert_problem(400, "invalid_parameter", None);
    }
}

#[tokio::test]
async fn an_unchanged_gateway_is_not_sent_again() {
    let (home, gateway) = (home().await, gateway().await);
    let created = home.world.post(&body(&gateway)).await;
    let url = home.world.url(&format!("/api/v1/gateways/{}", created.json["id"].as_str().unwrap()));
    let etag = created.header("etag");
    assert_eq!(etag, format!("\"{}\"", created.json["revision"]));
    for (tag, status) in [
        (etag.to_owned(), 304),
        (format!("W/{etag}"), 304),
        (format!("\"x\", {etag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let request =
            home.world.http.get(&url).bearer_auth(home.world.owner.expose()).header("If-None-Match", &tag);
        let answer = harness::world::Answer::of(request).await;
        assert_eq!((answer.status, answer.header("etag")), (status, etag), "{tag}");
    }
}
