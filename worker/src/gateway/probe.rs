//! Whether a gateway can be used, and what it is: handshake, version, one read call.

use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};
use shared::{
    domain::gateway::{
        failure::{Cause, Failure, Stage},
        patience::Patience,
        url::GatewayUrl,
        version::Version,
    },
    secret::{Secret, sanitize},
};
use tokio::time::timeout;

use super::{
    Dialer,
    connect::timed_out,
    handshake::Mode,
    refusal::{self, Refused},
    session::{Session, Target},
    tls::Certificate,
};

const READ: &str = "operator.read";
const ADMIN: &str = "operator.admin";

/// What was learnt of a gateway that lets us in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Its version, as it says it.
    pub runtime_version: String,
    /// The protocol it chose.
    pub protocol: u32,
    /// The scopes it granted; empty where it does not tell.
    pub scopes: Vec<String>,
    /// From connect to hello.
    pub latency_ms: u64,
}

/// Looks at a gateway and writes nothing.
///
/// # Errors
/// As for a provisioning attempt, up to the stage `version`.
pub async fn probe(
    dialer: &Dialer,
    url: &GatewayUrl,
    token: Option<&Secret>,
    connection: (Certificate, Mode),
    minimum: &Version,
) -> Result<Verified, Failure> {
    let (certificate, mode) = connection;
    let secrets = token.into_iter().cloned().collect();
    let patience = Patience::Waiting;
    let target = Target { url, device_token: None, token, certificate, mode, patience, secrets };
    let mut session = Session::new(dialer, target);
    let result = timeout(dialer.limits.attempt, verify(&mut session, minimum)).await;
    let stage = session.stage;
    session.close().await;
    match result {
        Ok(verified) => verified.map_err(|refused| refused.failure),
        Err(_) => Err(timed_out(stage, url)),
    }
}

/// Handshake, version, and the proof that we may read.
///
/// # Errors
/// The stages `policy` to `version`.
pub async fn verify(session: &mut Session<'_>, minimum: &Version) -> Result<Verified, Refused> {
    session.stage = Stage::Handshake;
    let hello = session.hello().await?;
    let told = hello.server_version.clone().filter(|text| text.parse::<Version>().is_ok());
    // A version that is too low is told before the proof: such a gateway may refuse the proof for another reason.
    if let Some(told) = &told {
        check_version(told, minimum)?;
    }
    let missing = missing_scopes(hello.scopes.as_deref());
    if !missing.is_empty() {
        return Err(refusal::of_scopes(&missing).into());
    }
    let telling = Instant::now();
    let config = session.call("config.get", json!({})).await?;
    let runtime_version = match told {
        Some(told) => told,
        None => version_elsewhere(session, &config, hello.server_version.as_deref()).await?,
    };
    check_version(&runtime_version, minimum)?;
    if !hello.methods.is_empty() && !hello.methods.iter().any(|method| method == "agents.create") {
        let detail = format!(
            "The gateway offers no agents.create; Mission Control needs {minimum} or newer. Upgrade it, then check: \
             openclaw --version."
        );
        return Err(version_failure(Cause::VersionTooLow, detail, Some(&runtime_version), minimum).into());
    }
    session.passed(Stage::Version, telling);
    Ok(Verified {
        runtime_version,
        protocol: hello.protocol,
        scopes: hello.scopes.unwrap_or_default().iter().take(64).map(|scope| sanitize(scope, [])).collect(),
        latency_ms: u64::try_from(hello.latency.as_millis()).unwrap_or(u64::MAX),
    })
}

/// What hello does not grant of what is needed; nothing where it does not tell, then the calls themselves do.
fn missing_scopes(granted: Option<&[String]>) -> Vec<&'static str> {
    let Some(granted) = granted else { return Vec::new() };
    let has = |scope: &str| granted.iter().any(|granted| granted == scope);
    // The right to administer includes the right to read.
    if has(ADMIN) {
        return Vec::new();
    }
    [READ, ADMIN].into_iter().filter(|scope| !has(scope)).collect()
}

async fn version_elsewhere(
    session: &mut Session<'_>,
    config: &Value,
    said: Option<&str>,
) -> Result<String, Refused> {
    session.stage = Stage::Version;
    let version = |text: &&str| text.parse::<Version>().is_ok();
    let touched = config.pointer("/config/meta/lastTouchedVersion").and_then(Value::as_str).filter(version);
    // Nobody else tells the version: then the answer is needed.
    let schema = match touched {
        Some(_) => session.ask_optional("config.schema", json!({})).await?.unwrap_or(Value::Null),
        None => session.ask("config.schema", json!({})).await?.unwrap_or(Value::Null),
    };
    let found = schema.get("version").and_then(Value::as_str).filter(version).or(touched);
    Ok(found.or(said).unwrap_or_default().to_owned())
}

fn check_version(text: &str, minimum: &Version) -> Result<(), Box<Failure>> {
    let shown = Some(sanitize(text, [])).filter(|text| !text.is_empty());
    match text.parse::<Version>() {
        Ok(version) if version >= *minimum => Ok(()),
        Ok(_) => {
            let detail = format!(
                "The gateway runs version {text}; Mission Control needs {minimum} or newer. Upgrade it, then check: \
                 openclaw --version."
            );
            Err(Box::new(version_failure(Cause::VersionTooLow, detail, shown.as_deref(), minimum)))
        }
        Err(_) => {
            let said = shown.as_deref().unwrap_or("nothing");
            let detail = format!(
                "The gateway's version cannot be told (it says \"{said}\"); Mission Control needs {minimum} or newer. \
                 Check it on the host: openclaw --version."
            );
            Err(Box::new(version_failure(Cause::VersionUnknown, detail, shown.as_deref(), minimum)))
        }
    }
}

fn version_failure(cause: Cause, detail: String, runtime: Option<&str>, minimum: &Version) -> Failure {
    Failure {
        runtime_version: runtime.map(ToOwned::to_owned),
        minimum_version: Some(minimum.to_string()),
        ..Failure::new(Stage::Version, cause, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hello_does_not_grant_is_listed() {
        let missing = |granted: &[&str]| {
            missing_scopes(Some(&granted.iter().map(ToString::to_string).collect::<Vec<_>>()))
        };
        assert_eq!(missing(&[]), [READ, ADMIN]);
        assert_eq!(missing(&[READ, "operator.pairing"]), [ADMIN]);
        assert!(missing(&[ADMIN]).is_empty() && missing_scopes(None).is_empty());
        let detail = refusal::of_scopes(&missing(&[])).detail;
        assert!(
            detail.starts_with("The gateway did not grant operator.read and operator.admin. "),
            "{detail}"
        );
    }

    #[test]
    fn a_version_is_enough_too_low_or_unknown() {
        let minimum: Version = "2026.02.9".parse().unwrap();
        let cause = |text: &str| check_version(text, &minimum).err().map(|failure| failure.cause);
        assert_eq!(cause("2026.2.9"), None);
        assert_eq!(cause("2026.1.29"), Some(Cause::VersionTooLow));
        assert_eq!(cause("dev"), Some(Cause::VersionUnknown));
        let unknown = check_version("", &minimum).unwrap_err();
        assert_eq!((unknown.runtime_version, unknown.minimum_version.as_deref()), (None, Some("2026.02.9")));
    }
}
