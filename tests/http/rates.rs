//! Limits of tokens and addresses, and what the caller is told of them.

use api::{
    guard::Guard,
    rates::{Limiter, Rates},
};
use harness::world::{Answer, Setup, World};

use super::{Home, home_with};

async fn limited(rates: Rates, trusted: &[&str]) -> Home {
    let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
    let guard = Guard { limiter: Limiter::new(rates, trusted), ..Guard::default() };
    home_with(Setup { guard, worker: false, ..Setup::default() }).await
}

async fn list(world: &World, token: &str, forwarded: &str) -> Answer {
    let request = world.http.get(world.url("/api/v1/gateways")).bearer_auth(token);
    Answer::of(request.header("X-Forwarded-For", forwarded)).await
}

#[tokio::test]
async fn a_token_has_an_allowance_of_its_own() {
    let home = limited(Rates { token: 2, ..Rates::default() }, &[]).await;
    let world = &home.world;
    let first = world.get("/api/v1/gateways").await;
    assert_eq!((first.status, first.header("ratelimit")), (200, r#""token";r=1;t=30"#));
    assert_eq!(first.header("ratelimit-policy"), r#""token";q=2;w=60"#);
    assert_eq!(world.get("/api/v1/nothing").await.header("ratelimit"), "");
    assert_eq!(world.get("/api/v1/agents").await.status, 200);
    let refused = world.get("/api/v1/gateways").await;
    refused.assert_problem(429, "rate_limited", None);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit"), r#""token";r=0;t=60"#);
    let other = world.member(shared::domain::organization::Role::Member).await;
    assert_eq!(list(world, other.expose(), "").await.status, 200);
}

#[tokio::test]
async fn an_address_has_one_and_health_is_told_in_any_case() {
    let home = limited(Rates { address: 2, ..Rates::default() }, &[]).await;
    let world = &home.world;
    let open = |path: &str| Answer::of(world.http.get(world.url(path)));
    assert_eq!(open("/problems/invalid_url").await.header("ratelimit"), r#""address";r=1;t=30"#);
    assert_eq!(world.get("/api/v1/gateways").await.status, 200);
    world.get("/api/v1/gateways").await.assert_problem(429, "rate_limited", None);
    // The header counts only where a proxy is trusted.
    list(world, world.owner.expose(), "203.0.113.7").await.assert_problem(429, "rate_limited", None);
    open("/api/v1/nothing").await.assert_problem(429, "rate_limited", None);
    for _ in 0..5 {
        assert_eq!((open("/healthz").await.status, open("/readyz").await.status), (200, 200));
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own() {
    let home = limited(Rates { address: 1, ..Rates::default() }, &["127.0.0.0/8"]).await;
    let (world, owner) = (&home.world, home.world.owner.expose());
    assert_eq!(list(world, owner, "203.0.113.7").await.status, 200);
    list(world, owner, "203.0.113.7").await.assert_problem(429, "rate_limited", None);
    assert_eq!(list(world, owner, "203.0.113.8").await.status, 200);
    list(world, owner, "203.0.113.9, 203.0.113.7").await.assert_problem(429, "rate_limited", None);
}

#[tokio::test]
async fn who_guesses_is_stopped_and_a_good_token_goes_on() {
    let home = limited(Rates { attempts: 3, ..Rates::default() }, &[]).await;
    let (world, owner) = (&home.world, home.world.owner.expose());
    assert_eq!(list(world, owner, "").await.status, 200);
    for number in 0..2 {
        list(world, &format!("guess-{number}"), "").await.assert_problem(401, "unauthenticated", None);
    }
    let guessed = list(world, "guess-2", "").await;
    guessed.assert_problem(429, "rate_limited", None);
    assert_eq!(guessed.header("ratelimit-policy"), r#""attempts";q=3;w=60"#);
    Answer::of(world.http.get(world.url("/api/v1/gateways"))).await.assert_problem(429, "rate_limited", None);
    let agent = world.http.get(world.url("/api/v1/agent/healthz")).header("X-Agent-Token", "guess");
    Answer::of(agent).await.assert_problem(429, "rate_limited", None);
    // A right guess would not be told either.
    let unseen = world.member(shared::domain::organization::Role::Member).await;
    list(world, unseen.expose(), "").await.assert_problem(429, "rate_limited", None);
    assert_eq!(list(world, owner, "").await.status, 200);
}

#[tokio::test]
async fn without_a_setting_nothing_is_counted() {
    let home = limited(Rates::default(), &[]).await;
    for _ in 0..50 {
        let answer = home.world.get("/api/v1/gateways").await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, ""));
    }
}
