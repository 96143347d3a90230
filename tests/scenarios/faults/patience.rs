//! The promised times, with the limits as they ship: a gateway that answers quickly or not at all has its outcome within
//! 12 s of dials, 15 s of a call and 2 s of clean-up; one that answers slowly outlasts the wait and goes on.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    case::{Case, UNREACHABLE},
    run::{ours, quick},
};
use crate::homes_with;
use harness::{
    fake_gateway::{FakeGateway, Fault, Options},
    ports::free_port,
    strangers::{Manner, Name, Names, Stranger},
    world::{Setup, body},
};
use serde_json::json;
use worker::gateway::limits::Limits;

const NEVER: usize = usize::MAX;

/// Everything is told within the promised time.
pub(super) fn with_the_real_limits() -> Vec<Case> {
    let seconds = Duration::from_secs;
    let mute = |method: &str| Fault::MuteAt(method.to_owned());
    let slow = |case: Case, stage| case.fails("gateway_timeout", stage, &UNREACHABLE);
    let away = |case: Case, stage| case.fails("gateway_unreachable", stage, &["ps aux | grep openclaw"]);
    let starting = |times| Fault::UnavailableWhileStarting { times, retry_after_ms: 2_000 };
    vec![
        away(Case::closed("a closed port"), "tcp").within(seconds(1)),
        slow(Case::stranger("a blackhole", Manner::Blackhole).dials(0..=0), "tcp").within(seconds(5)),
        slow(Case::stranger("mute at the TLS hello", Manner::Mute).scheme("wss"), "tls").within(seconds(5)),
        slow(Case::stranger("mute at the upgrade", Manner::Mute), "upgrade").within(seconds(5)),
        slow(Case::stranger("mute after the upgrade", Manner::MuteAfterUpgrade), "handshake")
            .within(seconds(2)),
        slow(Case::fault("mute at connect", mute("connect")), "handshake").within(seconds(10)),
        slow(Case::fault("mute at agents.create", mute("agents.create")), "agent").within(seconds(15)),
        slow(Case::fault("mute at config.patch", mute("config.patch")), "config").within(seconds(15)),
        away(Case::fault("503 for ever", Fault::HttpAtUpgrade { status: 503, times: NEVER }), "upgrade")
            .dials(4..=10)
            .within(seconds(12)),
        away(Case::fault("starting for ever", starting(NEVER)), "handshake").dials(4..=7).within(seconds(12)),
        // The longest that a promise has to hold: it starts for 8 s, then takes calls and answers none.
        slow(
            Case::gateway(
                "starting, then mute",
                Options::default().with(starting(4)).with(mute("chat.send")),
            ),
            "wake",
        )
        .dials(5..=5)
        .within(seconds(12 + 15 + 2)),
    ]
}

#[tokio::test]
async fn a_gateway_that_answers_every_step_slowly_outlasts_the_wait_and_is_created() {
    let mut setup = Setup::default();
    setup.api.sync_wait = Duration::from_secs(2);
    for (name, home) in homes_with(&setup).await {
        let options = Options { min_call_delay: Duration::from_millis(500), ..Options::default() };
        let gateway = FakeGateway::start(options).await;
        let accepted = home.world.post(&body(&gateway)).await;
        assert_eq!(accepted.status, 202, "{name}: {}", accepted.text);
        let operation = home.world.outcome(accepted.header("location")).await;
        assert_eq!(operation.json["status"], "succeeded", "{name}: {}", operation.text);
        assert_eq!((operation.json["attempts"].as_u64(), gateway.dials()), (Some(1), 1), "{name}");
        assert_eq!(ours(&gateway).len(), 1, "{name}");
        home.world.audit().await;
    }
}

#[tokio::test]
async fn an_attempt_that_ends_while_it_dials_again_tells_why_it_had_to() {
    let blackhole = Stranger::start(Manner::Blackhole).await;
    let names = Arc::new(Names::default());
    let resolver = Arc::clone(&names);
    let limits = Limits { attempt: Duration::from_secs(1), connect: Duration::from_secs(5), ..quick() };
    for (_, home) in homes_with(&Setup { limits, resolver, ..Setup::default() }).await {
        let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
        names.add("turns.test", Name::Is(vec![vec![closed], vec![blackhole.address()]]));
        let request = json!({"name": "turns", "url": "ws://turns.test:80", "workspace_root": "/ws"});
        let answer = home.world.post(&request).await;
        answer.assert_problem(502, "gateway_unreachable", Some("tcp"));
        assert_eq!(names.asked("turns.test"), 2, "it was dialled again");
    }
}
