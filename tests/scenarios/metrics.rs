//! `/metrics` of real processes: the whole list is there, described, and each moves by what it measures.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{
    databases::{Cluster, Durability},
    fake_gateway::{FakeGateway, Fault, Options},
    page::Page,
    ports::free_port,
    site::Site,
    world::body,
};
use serde_json::json;
use shared::{domain::gateway::failure::Stage, meter};
use sqlx::Connection as _;

/// Whose page.
#[derive(Debug, Clone, Copy)]
enum Of {
    Api,
    Worker,
}

async fn page(site: &Site, of: Of) -> Page {
    let base = match of {
        Of::Api => &site.api,
        Of::Worker => &site.worker,
    };
    Page::of(&site.http, base).await
}

/// Waits until a page tells this of a series.
async fn until(site: &Site, of: Of, (name, labels): (&str, &[(&str, &str)]), is: impl Fn(&str) -> bool) {
    let since = Instant::now();
    loop {
        let page = page(site, of).await;
        if page.find(name, labels).is_some_and(&is) {
            return;
        }
        let waited = since.elapsed();
        assert!(
            waited < Duration::from_secs(20),
            "{}: {of:?} {name} {labels:?}:\n{}",
            site.name,
            page.text()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn reaches(site: &Site, of: Of, series: (&str, &[(&str, &str)]), count: u64) {
    until(site, of, series, |value| value.parse().is_ok_and(|value: u64| value >= count)).await;
}

async fn becomes(site: &Site, of: Of, name: &str, count: &str) {
    until(site, of, (name, &[]), |value| value == count).await;
}

/// Every name is there with its help; what concerns requests, where requests are served.
fn is_whole(page: &Page, of: Of) {
    let of_requests = |name: &str| [meter::HTTP_REQUESTS, meter::HTTP_REQUEST_SECONDS].contains(&name);
    let is_here = |name: &str| matches!(of, Of::Api) || !of_requests(name);
    for (name, _, help) in meter::ALL.into_iter().filter(|(name, _, _)| is_here(name)) {
        assert!(page.text().contains(&format!("# HELP {name} {help}")), "{name}:\n{}", page.text());
        assert!(page.text().contains(&format!("# TYPE {name} ")), "{name}:\n{}", page.text());
        assert!(page.series_of(name).next().is_some(), "{name}:\n{}", page.text());
    }
}

/// Registrations that succeed, fail and are cancelled, and what each part of that is counted as.
async fn counts_registrations(site: &Site) {
    let gateway = FakeGateway::start(Options::default()).await;
    let created = site.post(&body(&gateway), &[("Idempotency-Key", "a")]).await;
    assert_eq!(created.status, 200, "{}: {}", site.name, created.text);
    let creation = |outcome, code| [("outcome", outcome), ("code", code)];
    reaches(site, Of::Worker, (meter::CREATIONS, &creation("succeeded", "none")), 1).await;
    reaches(site, Of::Worker, (meter::ATTEMPTS, &[("outcome", "succeeded"), ("stage", "none")]), 1).await;
    let worker = page(site, Of::Worker).await;
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Tls) {
        let count = worker.count(&count_of(meter::STAGE_SECONDS), &[("stage", stage.as_str())]);
        assert!(count >= 1, "{}: {stage}", site.name);
    }
    assert_eq!(worker.count(&count_of(meter::STAGE_SECONDS), &[("stage", "tls")]), 0);
    reaches(site, Of::Worker, (meter::JOBS, &[("kind", "provision_gateway"), ("outcome", "done")]), 1).await;
    reaches(site, Of::Worker, (&count_of(meter::JOB_SECONDS), &[("kind", "provision_gateway")]), 1).await;

    let other = body(&FakeGateway::start(Options::default()).await);
    site.post(&other, &[("Idempotency-Key", "a")]).await.assert_problem(422, "idempotency_key_reused", None);
    let api = page(site, Of::Api).await;
    assert_eq!(api.count(meter::COMMITS, &[("outcome", "refused")]), 1, "{}", site.name);
    assert!(api.count(meter::COMMITS, &[("outcome", "written")]) >= 2, "{}", site.name);
    let transactions = api.count(&count_of(meter::COMMIT_BATCH_SIZE), &[]);
    assert!(transactions >= 3 && transactions == api.count(&count_of(meter::COMMIT_SECONDS), &[]));
    let posted = [("method", "POST"), ("route", "/api/v1/gateways"), ("status", "422")];
    assert_eq!(api.count(meter::HTTP_REQUESTS, &posted), 1, "{}", site.name);
    assert_eq!(api.count(&count_of(meter::HTTP_REQUEST_SECONDS), &[("route", "/api/v1/gateways")]), 2);

    let mut wrong = body(&gateway);
    wrong["token"] = json!("wrong");
    site.post(&wrong, &[]).await.assert_problem(502, "gateway_auth_failed", Some("handshake"));
    reaches(site, Of::Worker, (meter::CREATIONS, &creation("failed", "gateway_auth_failed")), 1).await;
    reaches(site, Of::Worker, (meter::ATTEMPTS, &[("outcome", "failed"), ("stage", "handshake")]), 1).await;

    let mut closed = body(&gateway);
    closed["url"] = format!("ws://127.0.0.1:{}", free_port()).into();
    assert_eq!(site.post(&closed, &[("Prefer", "respond-async")]).await.status, 202, "{}", site.name);
    reaches(site, Of::Worker, (meter::ATTEMPTS, &[("outcome", "retried"), ("stage", "tcp")]), 4).await;
    reaches(site, Of::Worker, (meter::CREATIONS, &creation("failed", "gateway_unreachable")), 1).await;

    let pairing = Fault::PairingRequired { request_id: "req-1".to_owned(), approved_after: None };
    let unpaired = FakeGateway::start(Options::default().with(pairing)).await;
    let waits = site.post(&body(&unpaired), &[("Prefer", "respond-async")]).await;
    let awaiting = [("outcome", "awaiting_approval"), ("stage", "handshake")];
    reaches(site, Of::Worker, (meter::ATTEMPTS, &awaiting), 1).await;
    let path = format!("/api/v1/operations/{}/cancel", waits.json["id"].as_str().unwrap());
    assert_eq!(site.order(&path).await.status, 200, "{}", site.name);
    assert_eq!(page(site, Of::Api).await.count(meter::CREATIONS, &creation("cancelled", "none")), 1);
}

fn count_of(histogram: &str) -> String {
    format!("{histogram}_count")
}

/// Who waits and what waits, while it does.
async fn shows_what_waits(site: &Arc<Site>) {
    let gateway = Arc::new(FakeGateway::start(Options::default()).await);
    let held = gateway.hold("agents.files.set");
    let first = tokio::spawn({
        let (site, body) = (Arc::clone(site), body(&gateway));
        async move { site.post(&body, &[]).await.status }
    });
    held.arrived().await;
    assert_eq!(page(site, Of::Api).await.count(meter::WAITING_CLIENTS, &[]), 1, "{}", site.name);
    becomes(site, Of::Worker, meter::JOBS_RUNNING, "1").await;
    becomes(site, Of::Worker, meter::JOBS_RUNNING_MAX, "256").await;
    // One more for the same gateway is due and waits for the first.
    let second = site.post(&body(&gateway), &[("Prefer", "respond-async")]).await;
    assert_eq!(second.status, 202, "{}: {}", site.name, second.text);
    for of in [Of::Api, Of::Worker] {
        becomes(site, of, meter::QUEUE_DUE, "1").await;
        until(site, of, (meter::QUEUE_AGE, &[]), |age| {
            age.parse().is_ok_and(|age: f64| age > 1.5 && age < 60.0)
        })
        .await;
    }
    let said = site.command(&["queue", "pause"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    becomes(site, Of::Worker, meter::QUEUE_PAUSED, "1").await;
    assert_eq!(site.command(&["queue", "resume"]).code, Some(0));
    drop(held);
    assert_eq!(first.await.unwrap(), 200, "{}", site.name);
    for of in [Of::Api, Of::Worker] {
        becomes(site, of, meter::QUEUE_DUE, "0").await;
        becomes(site, of, meter::QUEUE_PAUSED, "0").await;
    }
    becomes(site, Of::Worker, meter::JOBS_RUNNING, "0").await;
    let api = page(site, Of::Api).await;
    assert_eq!((api.count(meter::WAITING_CLIENTS, &[]), api.count(meter::QUEUE_AGE, &[])), (0, 0));
    assert_eq!(api.count(meter::DATABASE_UP, &[]), 1, "{}", site.name);
}

/// A client makes up methods and paths; the page does not grow by that.
async fn does_not_grow(site: &Site) {
    let before: BTreeSet<String> =
        page(site, Of::Api).await.series_of(meter::HTTP_REQUESTS).map(ToOwned::to_owned).collect();
    for number in 0..20 {
        let method = reqwest::Method::from_bytes(format!("BREW{number}").as_bytes()).unwrap();
        let path = format!("{}/api/v1/gateways?x={number}", site.api);
        site.http.request(method, path).send().await.unwrap();
        site.http.get(format!("{}/nothing/{number}", site.api)).send().await.unwrap();
    }
    let after = page(site, Of::Api).await;
    let new: Vec<&str> =
        after.series_of(meter::HTTP_REQUESTS).filter(|series| !before.contains(*series)).collect();
    assert!(new.len() <= 3, "{}: {new:#?}", site.name);
}

async fn tells_everything(site: Site) -> Arc<Site> {
    let site = Arc::new(site);
    counts_registrations(&site).await;
    shows_what_waits(&site).await;
    does_not_grow(&site).await;
    for of in [Of::Api, Of::Worker] {
        let page = page(&site, of).await;
        is_whole(&page, of);
        println!("{}: {of:?} shows {} series", site.name, page.len());
    }
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_tells_everything_that_it_measures() {
    let site = tells_everything(Site::embedded(&[]).await).await;
    // Somebody else keeps the file from being written for longer than a commit waits.
    let file = format!("sqlite://{}", site.folder().unwrap().join("mission-control.db").display());
    let mut other = sqlx::SqliteConnection::connect(&file).await.unwrap();
    sqlx::query("begin immediate").execute(&mut other).await.unwrap();
    let gateway = FakeGateway::start(Options::default()).await;
    site.post(&body(&gateway), &[]).await.assert_problem(503, "store_unavailable", None);
    let page = page(&site, Of::Api).await;
    assert!(page.count(meter::DATABASE_ERRORS, &[("kind", "timeout")]) >= 1, "{}", page.text());
    assert!(page.count(meter::COMMITS, &[("outcome", "failed")]) >= 1, "{}", page.text());
    assert_eq!(page.count(meter::DATABASE_UP, &[]), 1, "it can still be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_and_a_worker_tell_everything_that_they_measure_and_do_not_wait_for_the_database() {
    let cluster = Arc::new(Cluster::start(Durability::Pretended).await);
    let site = tells_everything(Site::fleet(&cluster, &[]).await).await;
    cluster.freeze();
    // What was known a moment ago may be shown for a second.
    for of in [Of::Api, Of::Worker] {
        becomes(&site, of, meter::DATABASE_UP, "0").await;
        let asked = Instant::now();
        let page = page(&site, of).await;
        let took = asked.elapsed();
        println!("postgres: the page of {of:?} came after {took:?} while the database was silent");
        assert!(took < Duration::from_secs(3), "{of:?}: {took:?}");
        assert!(page.value(meter::QUEUE_DUE, &[]).is_nan(), "{}", page.text());
        assert!(page.value(meter::QUEUE_AGE, &[]).is_nan(), "{}", page.text());
    }
    let gateway = FakeGateway::start(Options::default()).await;
    site.post(&body(&gateway), &[]).await.assert_problem(503, "store_unavailable", None);
    for of in [Of::Api, Of::Worker] {
        until(&site, of, (meter::DATABASE_ERRORS, &[("kind", "timeout")]), |errors| errors != "0").await;
    }
    cluster.thaw();
    for of in [Of::Api, Of::Worker] {
        becomes(&site, of, meter::DATABASE_UP, "1").await;
    }
}
