//! `wss://` to a gateway whose certificate was signed by an authority that only the system trusts.

use std::path::Path;

use harness::{
    authority::Authority,
    fake_gateway::{FakeGateway, Options},
    process::{Said, Server, mission_control_worker},
    world::{Answer, body},
};
use serde_json::Value;

async fn gateway(authority: &Authority) -> FakeGateway {
    let certificate = Some(authority.certificate("127.0.0.1"));
    FakeGateway::start(Options { tls: true, certificate, ..Options::default() }).await
}

/// The probe as a process of its own: a process reads the system's roots once.
async fn probe(gateway: &FakeGateway, roots: Option<&Path>) -> Said {
    let url = gateway.url();
    let roots = roots.map(|path| path.display().to_string());
    let probing = tokio::task::spawn_blocking(move || {
        let environment: Vec<_> = roots.iter().map(|path| ("SSL_CERT_FILE", path.as_str())).collect();
        mission_control_worker(&["probe", &url, "--token-stdin", "--json"], &environment, "gateway-token\n")
    });
    probing.await.unwrap()
}

#[tokio::test]
async fn a_root_that_only_the_system_trusts_is_enough() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let gateway = gateway(&authority).await;
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();

    let strange = probe(&gateway, None).await;
    assert_eq!(strange.code, Some(13), "{strange:?}");
    let report: Value = serde_json::from_str(&strange.out).unwrap();
    assert_eq!(report["failure"]["code"], "gateway_tls_failed", "{report:#}");

    let known = probe(&gateway, Some(&roots)).await;
    assert_eq!(known.code, Some(0), "{known:?}");
    assert!(!known.err.contains("WARN"), "{known:?}");
}

#[tokio::test]
async fn a_broken_store_of_the_system_is_logged_once_and_stops_nobody() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let secured = gateway(&authority).await;
    let plain = FakeGateway::start(Options::default()).await;
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    for roots in [&broken, &folder.path().join("missing.pem")] {
        let said = probe(&secured, Some(roots)).await;
        assert_eq!(said.code, Some(13), "{said:?}");
        assert_eq!(said.err.matches("SSL_CERT_FILE").count(), 1, "{said:?}");
        let said = probe(&plain, Some(roots)).await;
        assert_eq!(said.code, Some(0), "{said:?}");
    }
}

#[tokio::test]
async fn a_server_registers_a_gateway_that_the_system_trusts() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let gateway = gateway(&authority).await;
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let server = Server::start(folder.path(), &[("SSL_CERT_FILE", &roots.display().to_string())]).await;
    let http = reqwest::Client::new();
    let request = http.post(format!("{}/api/v1/gateways", server.base)).bearer_auth(server.token().expose());
    let answer = Answer::of(request.json(&body(&gateway))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["allow_insecure_tls"], false);
    assert_eq!(server.terminate().await, Some(0));
}
