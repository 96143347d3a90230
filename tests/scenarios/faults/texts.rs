//! What a gateway says is hostile: a NUL, our own token, endless texts and frames.

use std::time::Duration;

use harness::fake_gateway::{Fault, Options};
use worker::gateway::limits::Limits;

use super::{
    calls::STEPS,
    case::Case,
    run::{quick, run},
};

#[tokio::test]
async fn what_a_gateway_says_is_told_without_our_secrets_and_control_characters() {
    let mut cases = vec![];
    for (method, stage) in STEPS.into_iter().filter(|(method, _)| *method != "status") {
        let echo = |what: &str, text: String| {
            let fault = Fault::EchoInError { method: method.to_owned(), text };
            Case::fault(format!("{what} at {method}"), fault)
        };
        let code = if method == "connect" { "gateway_protocol_error" } else { "gateway_provisioning_failed" };
        let token = "bad\u{0}{token}\u{1b}[31m".to_owned();
        cases.push(echo("NUL and token", token.clone()).fails(code, stage, &["bad [secret] [31m"]));
        cases.push(echo("NUL and token", token).fails(code, stage, &["bad [secret] [31m"]).in_background(1));
        // A close reason holds 123 bytes.
        if method != "connect" {
            let long = "y".repeat(100_000) + "{token}";
            cases.push(echo("a long text", long).fails(code, stage, &["yyyy"]));
        }
    }
    run(quick(), cases).await;
}

// Reading such a text blocks a thread for seconds in a test build.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_configuration_works_and_a_larger_frame_than_is_taken_does_not() {
    let limits = Limits { call: Duration::from_secs(15), attempt: Duration::from_mins(1), ..quick() };
    let cases = vec![
        Case::gateway(
            "a configuration of 20 MB",
            Options::default().with(Fault::BigConfig { bytes: 20_000_000 }),
        ),
        Case::fault("a frame of 40 MB", Fault::HugeFrame { bytes: 40_000_000 }).fails(
            "gateway_protocol_error",
            "handshake",
            &["larger than 32 MiB", "openclaw --version"],
        ),
    ];
    run(limits, cases).await;
}
