//! `mission-control-worker probe` at real gateways, with each of its flags.

use harness::{
    openclaw::{Gateway, Version},
    process::mission_control_worker,
};
use serde_json::{Value, json};

use crate::compatibility::Look;

/// The exit code and the report.
pub(crate) async fn probe(url: String, token: Option<&str>, flags: &'static [&'static str]) -> (i32, Value) {
    let input = token.map(ToOwned::to_owned);
    let run = tokio::task::spawn_blocking(move || {
        let mut arguments = vec!["probe", &url, "--json"];
        arguments.extend(input.as_ref().map(|_| "--token-stdin"));
        arguments.extend(flags);
        mission_control_worker(&arguments, &[], input.as_deref().unwrap_or_default())
    });
    let said = run.await.expect("a program can be run");
    let report = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("no report: {said:?}"));
    if let Some(token) = token {
        assert!(!said.out.contains(token) && !said.err.contains(token), "the token is told");
    }
    (said.code.expect("it ended by itself"), report)
}

/// With the gateway's own secret and these flags it can be used, and with a wrong secret not.
pub(crate) async fn assert_usable(gateway: &Gateway, flags: &'static [&'static str]) {
    let entries = gateway.held().await.entries();
    let look = Look::at(gateway);
    let (code, report) = probe(gateway.url(), gateway.secret(), flags).await;
    look.saw("probe", &format!("exit code {code}"));
    assert_eq!((code, &report["ok"]), (0, &json!(true)), "{report:#}");
    let version: Version = gateway.options().version;
    assert_eq!(report["verified"]["runtime_version"], version.number());
    let stages = report["stages"].as_array().expect("a list");
    assert_eq!(stages.last().expect("some")["stage"], "version", "{report:#}");
    if gateway.secret().is_some() {
        let (code, report) = probe(gateway.url(), Some("not-the-secret"), flags).await;
        assert_eq!((code, &report["failure"]["code"]), (15, &json!("gateway_auth_failed")), "{report:#}");
    }
    assert_eq!(gateway.held().await.entries(), entries, "a probe writes nothing");
}
