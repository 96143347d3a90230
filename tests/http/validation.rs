//! Every 400, 413, 415 and 422 of API.md §1.

use harness::world::Answer;
use serde_json::{Value, json};

use super::{Home, home, snapshot};

async fn post(home: &Home, body: impl Into<reqwest::Body>) -> Answer {
    post_as(home, body, "application/json").await
}

async fn post_as(home: &Home, body: impl Into<reqwest::Body>, content_type: &str) -> Answer {
    let world = &home.world;
    let request = world.http.post(world.url("/api/v1/gateways")).bearer_auth(world.owner.expose());
    Answer::of(request.header("Content-Type", content_type).body(body)).await
}

fn valid() -> Value {
    json!({"name": "x", "url": "ws://127.0.0.1:1", "workspace_root": "/ws"})
}

/// Pointers and codes of `errors`.
fn errors(answer: &Answer) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = answer.json["errors"].as_array().unwrap();
    errors.iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect()
}

#[tokio::test]
async fn each_field_has_its_faults() {
    let home = home().await;
    let long_name = "x".repeat(201);
    let long_url = format!("ws://h/{}", "x".repeat(2_048));
    let long_token = "x".repeat(4_097);
    for (field, value, status, code) in [
        ("name", Value::Null, 400, "missing_field"),
        ("name", json!(1), 400, "invalid_type"),
        ("name", json!("  "), 422, "invalid_name"),
        ("name", json!(long_name), 422, "invalid_name"),
        ("name", json!("a\u{0}b"), 422, "invalid_name"),
        ("url", Value::Null, 400, "missing_field"),
        ("url", json!(["ws://h"]), 400, "invalid_type"),
        ("url", json!(""), 400, "invalid_url"),
        ("url", json!("gateway-host"), 400, "invalid_url"),
        ("url", json!("http://h:1"), 400, "invalid_url"),
        ("url", json!("ws://"), 400, "invalid_url"),
        ("url", json!("ws://h:0"), 400, "invalid_url"),
        ("url", json!("ws://h:65536"), 400, "invalid_url"),
        ("url", json!("ws://user:pw@h"), 400, "invalid_url"),
        ("url", json!("ws://h/#x"), 400, "invalid_url"),
        ("url", json!("ws://h/?token=x"), 400, "invalid_url"),
        ("url", json!("ws://h/?a=1&PASSWORD=x"), 400, "invalid_url"),
        ("url", json!(long_url), 400, "invalid_url"),
        ("workspace_root", Value::Null, 400, "missing_field"),
        ("workspace_root", json!({}), 400, "invalid_type"),
        ("workspace_root", json!(""), 422, "invalid_workspace_root"),
        ("workspace_root", json!(" "), 422, "invalid_workspace_root"),
        ("workspace_root", json!("relative/ws"), 422, "invalid_workspace_root"),
        ("workspace_root", json!("/a/../b"), 422, "invalid_workspace_root"),
        ("workspace_root", json!("/a\nb"), 422, "invalid_workspace_root"),
        ("token", json!(1), 400, "invalid_type"),
        ("token", json!(long_token), 422, "invalid_token"),
        ("token", json!("a\tb"), 422, "invalid_token"),
        ("allow_insecure_tls", json!("true"), 400, "invalid_type"),
        ("allow_insecure_tls", Value::Null, 400, "invalid_type"),
        ("disable_device_pairing", json!(1), 400, "invalid_type"),
        ("id", json!("x"), 400, "unknown_field"),
        ("organization_id", json!("x"), 400, "unknown_field"),
    ] {
        let mut body = valid();
        body[field] = value.clone();
        let answer = post(&home, body.to_string()).await;
        answer.assert_problem(status, code, None);
        assert_eq!(errors(&answer), [(format!("/{field}"), code.to_owned())], "{field} = {value}");
    }
    for field in ["name", "url", "workspace_root"] {
        let mut body = valid();
        body.as_object_mut().unwrap().remove(field);
        let answer = post(&home, body.to_string()).await;
        answer.assert_problem(400, "missing_field", None);
        assert_eq!(errors(&answer), [(format!("/{field}"), "missing_field".to_owned())]);
    }
    assert!(home.world.log().await.iter().all(|event| !event.stream.as_str().starts_with("gateway-")));
}

#[tokio::test]
async fn one_pass_finds_all_faults_and_the_gravest_gives_the_status() {
    let home = home().await;
    let body = r#"{"url":"http://h","x":1,"name":"","token":"a\u0000","allow_insecure_tls":1,"name":"y","workspace_root":null}"#;
    let answer = post(&home, body).await;
    snapshot("many_faults", &answer);
    answer.assert_problem(400, "duplicate_field", None);
    // Of equal gravity, the first in the order of the documentation.
    let answer = post(&home, r#"{"url":"ws://h","workspace_root":"","name":""}"#).await;
    answer.assert_problem(422, "invalid_name", None);
    assert_eq!(errors(&answer).len(), 2);
}

#[tokio::test]
async fn what_is_no_json_object_is_told_where_it_breaks() {
    let home = home().await;
    for body in ["", "{", "[]", "null", "\"x\"", "{\"name\": s3cret}", "{} {}"] {
        let answer = post(&home, body).await;
        answer.assert_problem(400, "invalid_json", None);
        assert!(!answer.text.contains("s3cret"), "{}", answer.text);
    }
    post(&home, vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}']).await.assert_problem(
        400,
        "invalid_json",
        None,
    );
    snapshot("invalid_json", &post(&home, "{\"name\": ").await);
}

#[tokio::test]
async fn size_and_type_of_the_body_are_bounded() {
    let home = home().await;
    let padded = |bytes: usize| format!("{{\"name\":\"{}\"}}", "x".repeat(bytes - 11));
    post(&home, padded(64 * 1024)).await.assert_problem(400, "missing_field", None);
    snapshot("body_too_large", &post(&home, padded(64 * 1024 + 1)).await);
    let chunks = futures_util::stream::iter((0..70).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
    let streamed = post(&home, reqwest::Body::wrap_stream(chunks)).await;
    streamed.assert_problem(413, "body_too_large", None);
    snapshot("unsupported_media_type", &post_as(&home, valid().to_string(), "text/plain").await);
    for bad in
        ["application/json5", "application/problem+json", "application/x-www-form-urlencoded", "json", ""]
    {
        post_as(&home, valid().to_string(), bad).await.assert_problem(415, "unsupported_media_type", None);
    }
    for good in ["application/json; charset=utf-8", "Application/JSON"] {
        post_as(&home, "{}", good).await.assert_problem(400, "missing_field", None);
    }
}

#[tokio::test]
async fn the_order_is_access_then_type_then_size_then_body_then_key() {
    let home = home().await;
    let world = &home.world;
    let bare = world
        .http
        .post(world.url("/api/v1/gateways"))
        .header("Content-Type", "text/plain")
        .body("x".repeat(70_000));
    Answer::of(bare).await.assert_problem(401, "unauthenticated", None);
    post_as(&home, "x".repeat(70_000), "text/plain").await.assert_problem(
        415,
        "unsupported_media_type",
        None,
    );
    post(&home, "x".repeat(70_000)).await.assert_problem(413, "body_too_large", None);
    world.post_with(&json!({}), &[("Idempotency-Key", "")]).await.assert_problem(400, "missing_field", None);
    world.post_with(&valid(), &[("Idempotency-Key", "")]).await.assert_problem(
        400,
        "invalid_idempotency_key",
        None,
    );
}

#[tokio::test]
async fn texts_are_kept_as_documented() {
    let (home, gateway) = (home().await, super::gateway().await);
    let mut body = harness::world::body(&gateway);
    body["name"] = json!("  Größe 🙂 \"quoted\" ");
    body["url"] = json!(format!("{}/path?a=1", gateway.url()));
    body["workspace_root"] = json!("/ws//");
    let created = home.world.post(&body).await;
    assert_eq!(created.status, 200, "{}", created.text);
    assert_eq!(created.json["name"], "Größe 🙂 \"quoted\"");
    assert_eq!(created.json["url"], body["url"]);
    assert_eq!(created.json["workspace_root"], "/ws");
}
