//! Before a word is said: policy, dns, tcp, tls, upgrade.

use std::{net::SocketAddr, time::Duration};

use harness::{
    fake_gateway::{Fault, Options},
    strangers::{Manner, Name},
};
use serde_json::json;

use super::{
    case::{Case, UNREACHABLE},
    run::{quick, run},
};

const NEVER: usize = usize::MAX;

fn http(status: u16, times: usize) -> Case {
    Case::fault(format!("HTTP {status} at the upgrade"), Fault::HttpAtUpgrade { status, times })
}

fn closed_port() -> SocketAddr {
    // Port 1 of loopback: nothing listens there.
    SocketAddr::from(([127, 0, 0, 1], 1))
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_by_its_stage() {
    let wss = |case: Case| case.scheme("wss");
    let insecure = json!({"allow_insecure_tls": true});
    let tls = || Options { tls: true, ..Options::default() };
    let slow = ["did not answer in time"];
    let nobody = |stage| (stage, [UNREACHABLE[0], UNREACHABLE[1], slow[0]]);
    let timeout = |case: Case, stage| {
        let (stage, says) = nobody(stage);
        case.fails("gateway_timeout", stage, &says).within(Duration::from_secs(5))
    };
    let refused = vec![vec![closed_port()]];
    run(
        quick(),
        vec![
            Case::closed("a closed port").fails("gateway_unreachable", "tcp", &UNREACHABLE),
            Case::named("a name with a closed port", Name::Is(refused.clone()))
                .fails("gateway_unreachable", "tcp", &["nc -zv gateway-", "ps aux | grep openclaw"])
                .dials(2..=2),
            Case::named("a name with a closed port", Name::Is(refused))
                .fails("gateway_unreachable", "tcp", &["nc -zv gateway-"])
                .dials(5..=5)
                .in_background(5),
            Case::named("an unknown host", Name::Unknown)
                .fails("gateway_unreachable", "dns", &["is unknown", "`url`"])
                .dials(2..=2),
            Case::named("an unknown host", Name::Unknown)
                .fails("gateway_unreachable", "dns", &["is unknown"])
                .dials(5..=5)
                .in_background(5),
            Case::named("a mute name server", Name::Mute).fails("gateway_timeout", "dns", &slow),
            timeout(Case::stranger("a blackhole", Manner::Blackhole).dials(0..=0), "tcp"),
            timeout(wss(Case::stranger("mute at the TLS hello", Manner::Mute)), "tls"),
            timeout(Case::stranger("mute at the upgrade", Manner::Mute), "upgrade"),
            timeout(Case::stranger("mute after the upgrade", Manner::MuteAfterUpgrade), "handshake"),
            Case::gateway("self-signed TLS", tls()).fails(
                "gateway_tls_failed",
                "tls",
                &["allow_insecure_tls"],
            ),
            Case::gateway("self-signed TLS, allowed", tls()).body(insecure.clone()),
            wss(Case::gateway("TLS to a plain port", Options::default())).fails(
                "gateway_tls_failed",
                "tls",
                &["ws://"],
            ),
            wss(Case::gateway("TLS to a plain port, unchecked", Options::default())).body(insecure).fails(
                "gateway_tls_failed",
                "tls",
                &["ws://"],
            ),
            Case::gateway("plain to a TLS port", tls())
                .scheme("ws")
                .fails("gateway_tls_failed", "tls", &["wss://", "allow_insecure_tls"])
                .dials(1..=2),
            Case::stranger("plain to a TLS port that resets", Manner::ResetsPlain)
                .fails("gateway_tls_failed", "tls", &["wss://"])
                .dials(2..=2),
            Case::stranger("reset at the upgrade", Manner::Resets)
                .fails("gateway_unreachable", "tcp", &UNREACHABLE)
                .dials(4..=4),
        ],
    )
    .await;
}

#[tokio::test]
async fn every_answer_to_the_upgrade_has_its_code() {
    let redirect = Fault::RedirectAtUpgrade("ws://127.0.0.1:1/".to_owned());
    let says = |text: &str| Manner::Says(text.as_bytes().to_vec());
    let mut cases = vec![
        http(401, NEVER).fails("gateway_auth_failed", "upgrade", &["HTTP 401", "access rules"]),
        http(403, NEVER).fails("gateway_auth_failed", "upgrade", &["HTTP 403", "gateway.trustedProxies"]),
        http(404, NEVER).fails("gateway_protocol_error", "upgrade", &["HTTP 404", "openclaw --version"]),
        http(500, NEVER).fails("gateway_protocol_error", "upgrade", &["HTTP 500"]),
        Case::stranger("a web page", says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).fails(
            "gateway_protocol_error",
            "upgrade",
            &["HTTP 200", "openclaw --version"],
        ),
        Case::fault("a redirect", redirect).fails(
            "gateway_protocol_error",
            "upgrade",
            &["HTTP 302", "not followed"],
        ),
        Case::stranger("no HTTP", says("SSH-2.0-OpenSSH_9.2\r\n"))
            .fails("gateway_protocol_error", "upgrade", &["does not speak HTTP", "openclaw --version"])
            .within(Duration::from_secs(1)),
        Case::stranger("an endless head", says(&format!("HTTP/1.1 101 x\r\nx: {}", "y".repeat(20_000))))
            .fails("gateway_protocol_error", "upgrade", &["openclaw --version"]),
        Case::stranger("a wrong accept key", says("HTTP/1.1 101 x\r\nsec-websocket-accept: no\r\n\r\n"))
            .fails("gateway_protocol_error", "upgrade", &["Sec-WebSocket-Accept"]),
        Case::fault("dropped before the upgrade, twice", Fault::DropAtAccept { times: 2 }).dials(3..=5),
    ];
    for status in [502, 503, 504] {
        cases.push(http(status, 2).dials(3..=3));
        cases.push(
            http(status, NEVER)
                .fails("gateway_unreachable", "upgrade", &["ps aux | grep openclaw"])
                .dials(2..=14),
        );
    }
    for status in [401, 404] {
        let code = if status == 401 { "gateway_auth_failed" } else { "gateway_protocol_error" };
        cases.push(http(status, NEVER).fails(code, "upgrade", &[]).in_background(1));
    }
    run(quick(), cases).await;
}
