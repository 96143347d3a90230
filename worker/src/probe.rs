//! `probe <url>`: why can it not connect? Stage by stage, with times. Writes nothing on the gateway.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use clap::Args;
use serde::Serialize;
use shared::{
    config::Work,
    domain::gateway::{
        failure::{Failure, Stage},
        url::GatewayUrl,
    },
    secret::Secret,
};
use tokio::sync::mpsc;

use crate::{
    config::dialer,
    gateway::{
        Progress,
        handshake::Mode,
        identity::DeviceIdentity,
        probe::{Verified, probe},
        tls::Certificate,
    },
};

/// What to probe.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Probe {
    /// The gateway: ws:// or wss://, a host, and a port.
    url: GatewayUrl,
    /// Read the gateway's token or password from standard input.
    #[arg(long)]
    token_stdin: bool,
    /// Take any TLS certificate, as `allow_insecure_tls` does.
    #[arg(long)]
    insecure: bool,
    /// Connect in `control_ui` mode, as `disable_device_pairing` does.
    #[arg(long)]
    control_ui: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

const EXIT_CODES: &str = "Exit codes: 0 the gateway can be used; else the stage that failed: 10 policy, 11 dns, 12 tcp, \
    13 tls, 14 upgrade, 15 handshake, 16 version; 2 the command itself failed.

The probe connects with a device key of its own, made for this one look: a gateway that approved this installation's
device may still ask for the approval of the probe's.";

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    url: String,
    stages: Vec<Passed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Verified>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Told>,
}

#[derive(Debug, Serialize)]
struct Passed {
    stage: Stage,
    ms: f64,
}

#[derive(Debug, Serialize)]
struct Told {
    code: &'static str,
    #[serde(flatten)]
    failure: Failure,
}

/// Runs the probe; the result is the exit code.
///
/// # Errors
///
/// If the token cannot be read or the report not be printed.
pub async fn run(work: &Work, what: &Probe) -> io::Result<u8> {
    let token = if what.token_stdin { read_token()? } else { None };
    let mut seed = [0_u8; 32];
    rand::fill(&mut seed);
    let (sender, mut passed) = mpsc::unbounded_channel();
    let mut dialer = dialer(work, DeviceIdentity::from_seed(&seed), vec![]);
    dialer.progress = Progress::to(sender);
    let certificate = if what.insecure { Certificate::Unchecked } else { Certificate::Checked };
    let mode = if what.control_ui { Mode::ControlUi } else { Mode::Device };
    let minimum = &work.gateway_min_version;
    let result = probe(&dialer, &what.url, token.as_ref(), (certificate, mode), minimum).await;
    drop(dialer);
    let mut stages = vec![];
    while let Some((stage, took)) = passed.recv().await {
        stages.push(Passed { stage, ms: took.as_secs_f64() * 1_000.0 });
    }
    let code = result.as_ref().err().map_or(0, |failure| exit_code(failure.stage));
    let (verified, failure) = match result {
        Ok(verified) => (Some(verified), None),
        Err(failure) => (None, Some(Told { code: failure.cause.code().as_str(), failure })),
    };
    let report = Report { ok: code == 0, url: what.url.to_string(), stages, verified, failure };
    print(&report, what.json)?;
    Ok(code)
}

/// 10 and the number of the stage; the stages after `version` write and are not reached here.
fn exit_code(stage: Stage) -> u8 {
    match stage {
        Stage::Policy => 10,
        Stage::Dns => 11,
        Stage::Tcp => 12,
        Stage::Tls => 13,
        Stage::Upgrade => 14,
        Stage::Handshake => 15,
        Stage::Version | Stage::Agent | Stage::Config | Stage::Files | Stage::Wake => 16,
    }
}

fn read_token() -> io::Result<Option<Secret>> {
    if io::stdin().is_terminal() {
        writeln!(io::stderr(), "Type the gateway's token and end with Ctrl-D:")?;
    }
    let mut text = String::new();
    io::stdin().lock().take(8_192).read_to_string(&mut text)?;
    Ok(Some(Secret::new(text.trim().to_owned())).filter(|token| !token.expose().is_empty()))
}

fn print(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{}", serde_json::to_string(report)?);
    }
    for Passed { stage, ms } in &report.stages {
        writeln!(out, "{:<10} ok {ms:>9.1} ms", stage.as_str())?;
    }
    if let Some(verified) = &report.verified {
        let scopes =
            if verified.scopes.is_empty() { "not told".to_owned() } else { verified.scopes.join(", ") };
        writeln!(
            out,
            "OpenClaw {}, protocol {}, scopes: {scopes}",
            verified.runtime_version, verified.protocol
        )?;
        writeln!(out, "{} can be registered.", report.url)?;
    }
    if let Some(Told { code, failure }) = &report.failure {
        writeln!(out, "{:<10} failed: {code}", failure.stage.as_str())?;
        writeln!(out, "{}", failure.detail)?;
    }
    Ok(())
}
