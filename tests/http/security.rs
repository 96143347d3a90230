//! Header fields that browsers and caches heed, origins, and the token of the metrics.

use api::guard::Guard;
use harness::world::{Answer, Setup, World};
use reqwest::Method;

use super::home_with;

async fn ask(world: &World, path: &str) -> Answer {
    Answer::of(world.http.get(world.url(path)).bearer_auth(world.owner.expose())).await
}

#[tokio::test]
async fn every_answer_says_what_browsers_and_caches_may_do_with_it() {
    let home = super::home().await;
    for (path, cache) in [
        ("/api/v1/gateways", "no-store"),
        ("/api/v1/gateways/x", "no-store"),
        ("/api/v1/nothing", "no-store"),
        ("/nothing", "no-store"),
        ("/healthz", "no-store"),
        ("/openapi.json", "no-cache"),
        ("/problems/invalid_url", "no-cache"),
        ("/docs/", "no-cache"),
    ] {
        let answer = ask(&home.world, path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", cache),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(policy.contains("script-src"), path == "/docs/", "{path}: {policy}");
    }
}

#[tokio::test]
async fn the_readers_policy_allows_what_it_loads() {
    let home = super::home().await;
    let page = ask(&home.world, "/docs/").await.text;
    // No script or handler stands in the page itself: the policy would stop it.
    for script in page.split("<script").skip(1) {
        assert!(script.split('>').next().unwrap().contains("src="), "{script}");
    }
    assert!(!page.contains("onload=") && !page.contains("javascript:"), "{page}");
    let mut loaded = 0;
    for attribute in ["src=\"", "href=\""] {
        for part in page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
            let file = ask(&home.world, &format!("/docs/{}", part.trim_start_matches("./"))).await;
            assert_eq!(file.status, 200, "{part}");
            loaded += 1;
        }
    }
    assert!(loaded >= 4, "{page}");
    let moved = home.world.http.get(home.world.url("/docs")).send().await.unwrap();
    assert_eq!(moved.url().path(), "/docs/");
}

async fn preflight(world: &World, origin: &str) -> Answer {
    let asked = world.http.request(Method::OPTIONS, world.url("/api/v1/gateways"));
    let asked = asked.header("Origin", origin).header("Access-Control-Request-Method", "POST");
    Answer::of(asked.header("Access-Control-Request-Headers", "authorization,content-type,prefer")).await
}

#[tokio::test]
async fn no_other_origin_is_let_in_unless_it_is_set() {
    let home = super::home().await;
    let world = &home.world;
    let refused = preflight(world, "https://console.example.com").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (405, ""));
    let origins = vec!["https://console.example.com".parse().unwrap()];
    let home = home_with(Setup { guard: Guard { origins, ..Guard::default() }, ..Setup::default() }).await;
    let world = &home.world;
    let allowed = preflight(world, "https://console.example.com").await;
    assert_eq!(allowed.header("access-control-allow-origin"), "https://console.example.com");
    assert!(allowed.header("access-control-allow-headers").contains("idempotency-key"));
    assert!(allowed.header("access-control-allow-methods").contains("PATCH"));
    assert_eq!(preflight(world, "https://evil.example.com").await.header("access-control-allow-origin"), "");
    let list = || world.http.get(world.url("/api/v1/gateways"));
    let answer = Answer::of(list().header("Origin", "https://console.example.com")).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (401, "https://console.example.com")
    );
    assert!(answer.header("access-control-expose-headers").contains("ratelimit"));
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    let answer = Answer::of(list().header("Origin", "https://evil.example.com")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn the_metrics_ask_for_their_token_if_they_have_one() {
    let home = super::home().await;
    let open = |world: &World| Answer::of(world.http.get(world.url("/metrics")));
    open(&home.world).await.assert_problem(404, "not_found", None);
    let guard = Guard::default().with_metrics_token(Some(&"scraper".into()));
    let home = home_with(Setup { guard, ..Setup::default() }).await;
    let world = &home.world;
    open(world).await.assert_problem(401, "unauthenticated", None);
    let with = |token: &str| Answer::of(world.http.get(world.url("/metrics")).bearer_auth(token));
    with(world.owner.expose()).await.assert_problem(401, "unauthenticated", None);
    with("scraper").await.assert_problem(404, "not_found", None);
}
