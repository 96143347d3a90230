//! What a refusal means: the rows of API.md §1 that concern `connect` and the calls. Pure.
//!
//! `details.code` decides; where there is none (up to 2026.2.9) the message does; the coarse `code` never alone.

use std::time::Duration;

use shared::{
    domain::gateway::failure::{Cause, Failure, Stage},
    secret::{Secret, sanitize},
};

use super::{frame::ErrorBody, handshake::Mode};

/// A failed step, and how long the gateway asks to wait before the next.
#[derive(Debug, Clone)]
pub struct Refused {
    /// What the caller is told.
    pub failure: Failure,
    /// `retryAfterMs`, where told.
    pub retry_after: Option<Duration>,
    /// The gateway wants a password and was sent none: nothing was rejected.
    pub wants_password: bool,
}

impl From<Box<Failure>> for Refused {
    fn from(failure: Box<Failure>) -> Self {
        (*failure).into()
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, retry_after: None, wants_password: false }
    }
}

/// What the texts need to know of us.
#[derive(Debug, Clone, Copy)]
pub struct Us<'a> {
    /// How we connected.
    pub mode: Mode,
    /// Our device.
    pub device_id: &'a str,
    /// What must not appear in any text.
    pub secrets: &'a [Secret],
}

/// How the gateway refused `connect`. `close_reason` is the text of the close frame, empty if none came.
#[must_use]
pub fn of_connect(error: &ErrorBody, close_reason: &str, us: Us<'_>) -> Refused {
    let cause = cause_of_connect(error, us.mode);
    let said = sanitize(&error.message, us.secrets);
    let request_id = pairing_request(error, close_reason, us);
    let mut failure =
        Failure::new(Stage::Handshake, cause, advice(cause, &said, error, request_id.as_deref()));
    if cause == Cause::PairingRequired {
        failure.device_id = Some(us.device_id.to_owned());
        failure.pairing_request_id = request_id;
    }
    let wants_password = error.fine_code() == "AUTH_PASSWORD_MISSING"
        || error.fine_code().is_empty() && error.message.contains("password missing");
    Refused { failure, retry_after: error.retry_after(), wants_password }
}

fn cause_of_connect(error: &ErrorBody, mode: Mode) -> Cause {
    let message = error.message.to_ascii_lowercase();
    let says = |text: &str| message.contains(text);
    let is_ui = mode == Mode::ControlUi;
    match error.fine_code() {
        "AUTH_RATE_LIMITED" => Cause::LockedOut,
        "PAIRING_REQUIRED" => Cause::PairingRequired,
        "DEVICE_IDENTITY_REQUIRED" if !is_ui => Cause::PairingRequired,
        "DEVICE_IDENTITY_REQUIRED" | "CONTROL_UI_DEVICE_IDENTITY_REQUIRED" => Cause::ControlUiRefused,
        "CONTROL_UI_ORIGIN_NOT_ALLOWED" => Cause::OriginRefused,
        "MISSING_SCOPE" => Cause::ScopeMissing,
        "PROTOCOL_MISMATCH" if is_ui && says("control ui") => Cause::ControlUiRefused,
        "PROTOCOL_MISMATCH" => Cause::ProtocolMismatch,
        code if code.starts_with("AUTH_") || code.starts_with("DEVICE_AUTH_") => Cause::CredentialRejected,
        _ if says("too many failed") => Cause::LockedOut,
        _ if says("origin not allowed") => Cause::OriginRefused,
        _ if says("control ui requires") || says("control ui updated") => Cause::ControlUiRefused,
        _ if says("device identity required") && is_ui => Cause::ControlUiRefused,
        _ if says("protocol mismatch") => Cause::ProtocolMismatch,
        _ if says("missing scope") => Cause::ScopeMissing,
        _ if says("device signature") || says("device nonce") || says("device identity mismatch") => {
            Cause::CredentialRejected
        }
        _ if says("device public key") || message.starts_with("unauthorized") => Cause::CredentialRejected,
        _ if error.code == "NOT_PAIRED" || says("pairing required") => Cause::PairingRequired,
        _ if error.is_unavailable() => Cause::Unavailable,
        _ => Cause::ProtocolViolation,
    }
}

fn pairing_request(error: &ErrorBody, close_reason: &str, us: Us<'_>) -> Option<String> {
    let told = error.details.get("requestId").and_then(serde_json::Value::as_str);
    let in_reason =
        || close_reason.split_once("requestId:").map(|(_, rest)| rest.trim().trim_end_matches(')').trim());
    // It becomes part of a command line that a person copies.
    let is_plain = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    told.or_else(in_reason).filter(is_plain).map(|id| sanitize(id, us.secrets))
}

fn advice(cause: Cause, said: &str, error: &ErrorBody, request_id: Option<&str>) -> String {
    let said = format!("The gateway said: {said}. ");
    match cause {
        Cause::CredentialRejected => {
            said + "Check `token` against gateway.auth in the gateway's openclaw.json."
        }
        Cause::LockedOut => {
            let wait = error.retry_after().map_or_else(
                || "some minutes".to_owned(),
                |wait| format!("{} s (retryAfterMs {})", wait.as_millis().div_ceil(1_000), wait.as_millis()),
            );
            format!(
                "{said}Too many wrong credentials came from this address; it refuses even the right one for {wait}. Check \
                 `token` against gateway.auth in the gateway's openclaw.json, and try again after that."
            )
        }
        Cause::PairingRequired => {
            let id = request_id.unwrap_or("<requestId>");
            let list = if request_id.is_none() { " (`openclaw devices list` shows the id)" } else { "" };
            format!("{said}Approve this device on the gateway's host: `openclaw devices approve {id}`{list}.")
        }
        Cause::ControlUiRefused => said + CONTROL_UI,
        Cause::OriginRefused => {
            said + "Add Mission Control's origin to gateway.controlUi.allowedOrigins, or set `disable_device_pairing: \
                    false`."
        }
        Cause::ScopeMissing => said + SCOPE,
        Cause::ProtocolMismatch => {
            said + "Mission Control speaks gateway protocols 3 and 4. Check the version: openclaw --version."
        }
        Cause::Unavailable => {
            said + "It is starting or busy; try again shortly, or check it: ps aux | grep openclaw."
        }
        Cause::AddressForbidden
        | Cause::HostUnknown
        | Cause::ConnectionRefused
        | Cause::UpgradeUnavailable
        | Cause::TimedOut
        | Cause::TlsFailed
        | Cause::UpgradeForbidden
        | Cause::UpgradeRejected
        | Cause::ClosedBeforeHello
        | Cause::ProtocolViolation
        | Cause::VersionTooLow
        | Cause::VersionUnknown
        | Cause::ConnectionLost
        | Cause::CallRefused => {
            said + "Check that this is an OpenClaw gateway, and its version: openclaw --version."
        }
    }
}

const CONTROL_UI: &str = "For control_ui mode the gateway needs in ~/.openclaw/openclaw.json: {\"gateway\": \
    {\"controlUi\": {\"allowInsecureAuth\": true, \"dangerouslyDisableDeviceAuth\": true}}}, then a restart: openclaw \
    gateway start. Newer gateways have no such mode any more: set `disable_device_pairing: false`.";

const SCOPE: &str = "Mission Control needs operator.read and operator.admin. With `disable_device_pairing: true` the \
    gateway needs gateway.controlUi.dangerouslyDisableDeviceAuth: true and a restart; else approve the device with \
    these scopes.";

/// The connection was granted less than provisioning needs, as hello tells it.
#[must_use]
pub fn of_scopes(missing: &[&str]) -> Failure {
    let detail = format!("The gateway did not grant {}. {SCOPE}", missing.join(" and "));
    Failure::new(Stage::Handshake, Cause::ScopeMissing, detail)
}

/// How the gateway refused a call at this stage.
#[must_use]
pub fn of_call(stage: Stage, method: &str, error: &ErrorBody, secrets: &[Secret]) -> Refused {
    let said = sanitize(&error.message, secrets);
    let is_scope = error.fine_code() == "MISSING_SCOPE" || error.message.contains("missing scope");
    let failure = if is_scope {
        Failure::new(Stage::Handshake, Cause::ScopeMissing, format!("The gateway said: {said}. {SCOPE}"))
    } else if error.is_unavailable() {
        Failure::new(
            stage,
            Cause::Unavailable,
            format!(
                "{method} is not available: {said}. Try again shortly, or check the gateway: ps aux | grep openclaw."
            ),
        )
    } else if method == "agents.create" && error.message.contains("appears to have disappeared") {
        // 2026.6.11 and newer keep a note of each workspace, and do not make one again that is gone.
        let detail = format!(
            "agents.create failed: {said}. An earlier attempt's workspace was removed, and the gateway remembers it. \
             Register the gateway again: the next registration has a workspace of its own."
        );
        Failure::new(stage, Cause::CallRefused, detail)
    } else if method == "agents.create" && error.code == "UNAVAILABLE" {
        let detail = format!(
            "agents.create failed: {said}. The gateway cannot use this `workspace_root`: it must be a directory on the \
             gateway's host that its user may write."
        );
        Failure::new(stage, Cause::CallRefused, detail)
    } else {
        let detail = format!(
            "The gateway refused {method}: {said}. Look at the gateway's log for the reason, and check its version: \
             openclaw --version. Then try again."
        );
        Failure::new(stage, Cause::CallRefused, detail)
    };
    Refused { failure, retry_after: error.retry_after(), wants_password: false }
}

#[cfg(test)]
mod tests;
