//! A fake gateway to try a client against by hand.
#![expect(clippy::print_stdout, reason = "its address is what it prints")]

use std::net::IpAddr;

use clap::Parser;
use harness::fake_gateway::{FakeGateway, Fault, Options, Version};

/// A strict fake OpenClaw gateway; runs until SIGTERM or an interrupt.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  fake-gateway --port 18789 --token secret\n  fake-gateway --version 2026.2.9 --fault mute-at=config.get\n  fake-gateway --tls --fault http-at-upgrade=503"
)]
struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Release to play: 2026.2.9, 2026.3.13, 2026.6.11 or 2026.9.6.
    #[arg(long, default_value = "2026.9.6")]
    version: Version,
    /// Shared token; without it no secret is asked for (not with 2026.2.9).
    #[arg(long)]
    token: Option<String>,
    /// Serve TLS with a self-signed certificate.
    #[arg(long)]
    tls: bool,
    /// A fault, as name or name=value; may be given more than once. Names:
    /// mute-after-upgrade, mute-at, close-at, drop-at, drop-after (value: a
    /// method), http-at-upgrade (a status), redirect-at-upgrade (an address),
    /// locked-out, missing-scope, origin-refused, not-json, lose-patch-answer,
    /// agent-not-found, pairing-required (a request id), protocol-only (a number).
    #[arg(long = "fault", value_parser = fault)]
    faults: Vec<Fault>,
}

fn fault(text: &str) -> Result<Fault, String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let method = || value.to_owned();
    let times = usize::MAX;
    let number = |value: &str| value.parse().map_err(|_| format!("{name} needs a number"));
    Ok(match name {
        "mute-after-upgrade" => Fault::MuteAfterUpgrade,
        "mute-at" => Fault::MuteAt(method()),
        "close-at" => Fault::CloseAt { method: method(), code: 1012, times },
        "drop-at" => Fault::DropAt { method: method(), times },
        "drop-after" => Fault::DropAfter { method: method(), times },
        "http-at-upgrade" => Fault::HttpAtUpgrade { status: number(value)?, times },
        "redirect-at-upgrade" => Fault::RedirectAtUpgrade(method()),
        "locked-out" => Fault::LockedOut,
        "missing-scope" => Fault::MissingScope,
        "origin-refused" => Fault::OriginRefused,
        "not-json" => Fault::NotJson,
        "lose-patch-answer" => Fault::LosePatchAnswer,
        "agent-not-found" => Fault::AgentNotFoundAfterCreate,
        "pairing-required" => Fault::PairingRequired { request_id: method(), approved_after: None },
        "protocol-only" => Fault::ProtocolOnly(number(value)?.into()),
        _ => return Err(format!("no fault named {name}")),
    })
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let options = Options {
        address: arguments.address,
        version: arguments.version,
        token: arguments.token,
        tls: arguments.tls,
        faults: arguments.faults,
        hurry: 1,
        ..Options::default()
    };
    let gateway = FakeGateway::start_on(arguments.port, options).await;
    println!("{}", gateway.url());
    shared::config::stop_signal().await;
    gateway.stop().await;
}
