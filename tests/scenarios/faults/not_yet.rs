//! A gateway that has written what it was told and does not know it yet, or has and cannot say so.

use std::time::Duration;

use harness::fake_gateway::{Fault, Options, Version};
use worker::gateway::limits::Limits;

use super::{
    case::Case,
    run::{quick, run},
};

/// Restarts make more connections than one on these.
fn restarts(version: Version) -> bool {
    version <= Version::V2026_3_13
}

#[tokio::test]
async fn what_a_gateway_does_not_know_yet_is_asked_again_and_written_once() {
    let mut cases = vec![];
    for version in Version::ALL {
        let case = |what: &str, fault| {
            Case::gateway(format!("{version:?}: {what}"), Options::version(version).with(fault))
        };
        let most = if restarts(version) { 9 } else { 1 };
        cases.push(case("agent not found", Fault::AgentNotFoundAfterCreate).dials(1..=most));
        cases.push(case("agent not found", Fault::AgentNotFoundAfterCreate).dials(1..=most).in_background(1));
    }
    for times in [1, 4] {
        cases.push(Case::fault(format!("a stale hash, {times} times"), Fault::StaleBaseHash { times }));
    }
    let always = || {
        Case::fault("a stale hash, always", Fault::StaleBaseHash { times: usize::MAX }).fails(
            "gateway_provisioning_failed",
            "config",
            &["config.patch", "config changed"],
        )
    };
    cases.push(always());
    cases.push(always().in_background(1));
    let never_found = Fault::RefuseCall {
        method: "agents.files.set".to_owned(),
        code: "INVALID_REQUEST".to_owned(),
        message: "agent not found".to_owned(),
        details: None,
        retryable: None,
    };
    cases.push(
        Case::fault("an agent that is never found", never_found)
            .fails("gateway_provisioning_failed", "files", &["agents.files.set", "agent not found"])
            .within(Duration::from_secs(4)),
    );
    run(quick(), cases).await;
}

#[tokio::test]
async fn a_lost_answer_of_config_patch_is_looked_up() {
    let mut cases = vec![];
    for version in Version::ALL {
        let case = || {
            let options = Options::version(version).with(Fault::LosePatchAnswer);
            let most = if restarts(version) { 9 } else { 2 };
            Case::gateway(format!("{version:?}: a lost answer of config.patch"), options).dials(2..=most)
        };
        cases.extend([case(), case().in_background(1)]);
    }
    // The real ones: these gateways restart 2 s after the answer that nobody got.
    run(Limits::default(), cases).await;
}
