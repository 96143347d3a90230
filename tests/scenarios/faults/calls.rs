//! Each fault at each call of a creation: once, which the attempt survives, and for ever, which it tells.

use std::{collections::BTreeSet, time::Duration};

use harness::{
    fake_gateway::{FakeGateway, Fault, Options},
    world::body,
};
use worker::gateway::limits::Limits;

use super::{
    case::{Case, UNREACHABLE},
    run::{quick, run},
};
use crate::homes;

const NEVER: usize = usize::MAX;

/// Every call of a creation in its order, and the stage that a failure of it is told with.
pub(super) const STEPS: [(&str, &str); 9] = [
    ("connect", "handshake"),
    ("config.get", "handshake"),
    ("agents.create", "agent"),
    ("agents.files.set", "files"),
    ("sessions.patch", "wake"),
    ("status", "config"),
    ("config.patch", "config"),
    ("agents.list", "wake"),
    ("chat.send", "wake"),
];

/// Whether the registration fails without its answer; without `status` we do with what the configuration says.
fn is_needed(method: &str) -> bool {
    method != "status"
}

type Make = fn(&str, usize) -> Fault;

/// Everything that ends a connection, before and after the gateway has acted.
const ENDS: [(&str, Make); 7] = [
    ("close 1012", |method, times| Fault::CloseAt { method: method.to_owned(), code: 1012, times }),
    ("close 1001", |method, times| Fault::CloseAt { method: method.to_owned(), code: 1001, times }),
    ("close 1011", |method, times| Fault::CloseAt { method: method.to_owned(), code: 1011, times }),
    ("drop", |method, times| Fault::DropAt { method: method.to_owned(), times }),
    ("close 1012 after", |method, times| Fault::CloseAfter { method: method.to_owned(), code: 1012, times }),
    ("close 1001 after", |method, times| Fault::CloseAfter { method: method.to_owned(), code: 1001, times }),
    ("drop after", |method, times| Fault::DropAfter { method: method.to_owned(), times }),
];

/// Those that are tried for ever too: each costs many dials.
const ALWAYS: [&str; 4] = ["close 1012", "close 1001", "drop", "drop after"];

#[tokio::test]
async fn the_steps_are_those_that_a_creation_makes() {
    for (name, home) in homes().await {
        let gateway = FakeGateway::start(Options::default()).await;
        let created = home.world.post(&body(&gateway)).await;
        assert_eq!(created.status, 200, "{name}: {}", created.text);
        let called: BTreeSet<String> = gateway.calls().into_iter().map(|(method, _)| method).collect();
        let known: BTreeSet<String> = STEPS
            .iter()
            .map(|(method, _)| (*method).to_owned())
            .filter(|method| method != "connect")
            .collect();
        assert_eq!(called, known, "{name}");
        home.world.audit().await;
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_once_at_any_call_costs_one_more() {
    let mut cases = vec![];
    for (method, _) in STEPS {
        for (what, fault) in ENDS {
            cases.push(Case::fault(format!("{what} at {method}, once"), fault(method, 1)).dials(2..=2));
        }
        let dropped = Fault::DropAt { method: method.to_owned(), times: 1 };
        let again = Case::fault(format!("drop at {method}, once"), dropped).dials(2..=2);
        cases.push(again.in_background(1));
    }
    run(quick(), cases).await;
}

#[tokio::test]
async fn a_connection_that_is_always_lost_at_a_call_is_told_and_leaves_nothing() {
    let (mut before_hello, mut cases) = (vec![], vec![]);
    for (method, stage) in STEPS {
        for (what, fault) in ENDS.into_iter().filter(|(what, _)| ALWAYS.contains(what)) {
            let case = Case::fault(format!("{what} at {method}, always"), fault(method, NEVER));
            let told = |case: Case| case.fails("gateway_unreachable", stage, &UNREACHABLE);
            match method {
                // Asked once more, then we go on without it.
                _ if !is_needed(method) => cases.push(case.dials(3..=3)),
                "connect" => before_hello.push(told(case).dials(2..=11)),
                // It was applied: what the gateway holds tells, and no second patch is sent.
                "config.patch" if what.ends_with("after") => cases.push(case.dials(2..=2)),
                "config.patch" => cases.push(told(case).dials(6..=6)),
                "config.get" => cases.push(told(case).dials(9..=9)),
                // One more for the clean-up.
                _ => cases.push(told(case).dials(10..=10)),
            }
        }
    }
    // How often a lost call is repeated ends these, not the time.
    let limits =
        Limits { waiting_dials: Duration::from_secs(12), attempt: Duration::from_mins(1), ..quick() };
    tokio::join!(run(quick(), before_hello), run(limits, cases));
}

/// A call that is never answered is told after its time and leaves nothing.
pub(super) fn never_answered() -> Vec<Case> {
    let mut cases = vec![];
    for (method, stage) in STEPS {
        let mute = || Case::fault(format!("mute at {method}"), Fault::MuteAt(method.to_owned()));
        if !is_needed(method) {
            cases.push(mute().within(Duration::from_secs(4)));
            cases.push(mute().in_background(1).within(Duration::from_secs(4)));
            continue;
        }
        let mute = || mute().fails("gateway_timeout", stage, &UNREACHABLE);
        // The clean-up goes over the connection that is open.
        cases.push(mute().dials(1..=1).within(Duration::from_secs(4)));
        cases.push(mute().dials(5..=5).in_background(5));
    }
    cases
}

#[tokio::test]
async fn a_refused_call_is_told_with_what_the_gateway_said() {
    let mut cases = vec![];
    for (method, stage) in STEPS.into_iter().filter(|(method, _)| *method != "connect") {
        let refused = |code: &str, message: &str, retryable| Fault::RefuseCall {
            method: method.to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
            details: None,
            retryable,
        };
        let case = |what: &str, fault| Case::fault(format!("{what} at {method}"), fault);
        let failed = |case: Case| {
            let says = [method, "because of X"];
            if is_needed(method) { case.fails("gateway_provisioning_failed", stage, &says) } else { case }
        };
        cases.push(failed(case("a refusal", refused("INVALID_REQUEST", "because of X", None))));
        let for_good = refused("UNAVAILABLE", "Error: EPERM because of X", Some(false));
        cases.push(failed(case("UNAVAILABLE for good", for_good.clone())));
        cases.push(failed(case("UNAVAILABLE for good", for_good)).in_background(1));
        let no_scope = case("no scope", refused("FORBIDDEN", "missing scope: operator.admin", None));
        cases.push(if is_needed(method) {
            no_scope.fails("gateway_scope_missing", "handshake", &["operator.admin"])
        } else {
            no_scope
        });
    }
    run(quick(), cases).await;
}

#[tokio::test]
async fn a_gateway_that_is_not_available_for_now_is_asked_again() {
    let mut cases = vec![];
    for (method, stage) in STEPS.into_iter().filter(|(method, _)| *method != "connect") {
        let limited =
            |retry_after_ms, times| Fault::RateLimited { method: method.to_owned(), retry_after_ms, times };
        let case = |what: &str, fault| Case::fault(format!("{what} at {method}"), fault);
        cases.push(case("a rate limit that passes", limited(300, 3)));
        if !is_needed(method) {
            for (what, pause) in [("beyond the attempt", 600_000), ("for ever", 300), ("without a pause", 0)]
            {
                let row = || case(&format!("a rate limit {what}"), limited(pause, NEVER));
                cases.push(row().within(Duration::from_secs(4)));
                cases.push(row().in_background(1).within(Duration::from_secs(4)));
            }
            continue;
        }
        let told = |case: Case| case.fails("gateway_unreachable", stage, &[method, "rate limit exceeded"]);
        let long = || {
            told(case("a pause beyond the attempt", limited(600_000, NEVER))).within(Duration::from_secs(1))
        };
        cases.push(long());
        cases.push(long().in_background(1));
        cases.push(told(case("a rate limit for ever", limited(900, NEVER))).within(Duration::from_secs(10)));
        cases.push(
            told(case("a rate limit without a pause", limited(0, NEVER))).within(Duration::from_secs(10)),
        );
    }
    run(quick(), cases).await;
}
