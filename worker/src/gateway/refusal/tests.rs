use serde_json::json;

use super::*;

fn refused(code: &str, message: &str, fine: &str, mode: Mode) -> Refused {
    let error = serde_json::from_value(json!({
        "code": code, "message": message, "details": if fine.is_empty() { json!(null) } else { json!({"code": fine}) },
    }))
    .unwrap();
    of_connect(&error, "", Us { mode, device_id: "dev", secrets: &[] })
}

#[test]
fn every_refusal_of_connect_has_its_cause() {
    use Cause::*;
    let (device, ui) = (Mode::Device, Mode::ControlUi);
    for (code, message, fine, mode, cause) in [
        ("INVALID_REQUEST", "unauthorized: gateway token mismatch (…)", "", device, CredentialRejected),
        ("INVALID_REQUEST", "x", "AUTH_TOKEN_MISMATCH", device, CredentialRejected),
        ("INVALID_REQUEST", "x", "AUTH_TOKEN_MISSING", device, CredentialRejected),
        ("INVALID_REQUEST", "x", "AUTH_PASSWORD_MISMATCH", device, CredentialRejected),
        ("INVALID_REQUEST", "device signature expired", "", device, CredentialRejected),
        ("INVALID_REQUEST", "device nonce mismatch", "", device, CredentialRejected),
        ("INVALID_REQUEST", "device identity mismatch", "", device, CredentialRejected),
        ("INVALID_REQUEST", "x", "DEVICE_AUTH_SIGNATURE_INVALID", device, CredentialRejected),
        ("INVALID_REQUEST", "x", "AUTH_RATE_LIMITED", device, LockedOut),
        (
            "INVALID_REQUEST",
            "unauthorized: too many failed authentication attempts (…)",
            "",
            device,
            LockedOut,
        ),
        ("NOT_PAIRED", "pairing required", "", device, PairingRequired),
        ("NOT_PAIRED", "x", "PAIRING_REQUIRED", device, PairingRequired),
        ("NOT_PAIRED", "device identity required", "", device, PairingRequired),
        ("NOT_PAIRED", "device identity required", "", ui, ControlUiRefused),
        ("NOT_PAIRED", "x", "DEVICE_IDENTITY_REQUIRED", ui, ControlUiRefused),
        ("INVALID_REQUEST", "control ui requires HTTPS or localhost", "", ui, ControlUiRefused),
        ("INVALID_REQUEST", "x", "CONTROL_UI_DEVICE_IDENTITY_REQUIRED", ui, ControlUiRefused),
        (
            "UNAVAILABLE",
            "protocol mismatch: Control UI updated; reload",
            "PROTOCOL_MISMATCH",
            ui,
            ControlUiRefused,
        ),
        ("INVALID_REQUEST", "protocol mismatch", "", device, ProtocolMismatch),
        ("INVALID_REQUEST", "x", "PROTOCOL_MISMATCH", device, ProtocolMismatch),
        ("INVALID_REQUEST", "origin not allowed (…)", "", ui, OriginRefused),
        ("INVALID_REQUEST", "x", "CONTROL_UI_ORIGIN_NOT_ALLOWED", ui, OriginRefused),
        ("FORBIDDEN", "x", "MISSING_SCOPE", device, ScopeMissing),
        ("INVALID_REQUEST", "missing scope: operator.read", "", device, ScopeMissing),
        ("INVALID_REQUEST", "invalid connect params: at root", "", device, ProtocolViolation),
        ("UNAVAILABLE", "no", "", device, ProtocolViolation),
        ("", "", "", device, ProtocolViolation),
    ] {
        assert_eq!(refused(code, message, fine, mode).failure.cause, cause, "{code} {message} {fine}");
    }
}

#[test]
fn a_starting_gateway_is_unavailable_and_tells_when() {
    let error: ErrorBody = serde_json::from_value(json!({
        "code": "UNAVAILABLE", "message": "gateway starting", "retryable": true, "retryAfterMs": 500,
        "details": {"reason": "startup-sidecars"},
    }))
    .unwrap();
    let refused = of_connect(&error, "", Us { mode: Mode::Device, device_id: "d", secrets: &[] });
    assert_eq!(refused.failure.cause, Cause::Unavailable);
    assert_eq!(refused.retry_after, Some(Duration::from_millis(500)));
}

#[test]
fn a_pairing_request_is_named_wherever_it_is_told() {
    let us = Us { mode: Mode::Device, device_id: "dev", secrets: &[] };
    let told: ErrorBody = serde_json::from_value(json!({
        "code": "NOT_PAIRED", "message": "pairing required", "details": {"requestId": "ab-1"},
    }))
    .unwrap();
    let failure = of_connect(&told, "", us).failure;
    assert_eq!(failure.pairing_request_id.as_deref(), Some("ab-1"));
    assert_eq!(failure.device_id.as_deref(), Some("dev"));
    assert!(failure.detail.contains("openclaw devices approve ab-1"));
    let bare = ErrorBody { code: "NOT_PAIRED".to_owned(), ..ErrorBody::default() };
    let failure = of_connect(&bare, "pairing required (requestId: cd-2)", us).failure;
    assert_eq!(failure.pairing_request_id.as_deref(), Some("cd-2"));
    let failure = of_connect(&bare, "(requestId: x; rm -rf /)", us).failure;
    assert_eq!(failure.pairing_request_id, None);
}

#[test]
fn a_secret_in_a_refusal_is_masked() {
    let error = ErrorBody { message: "bad tok-1234\0".to_owned(), ..ErrorBody::default() };
    let refused = of_call(Stage::Agent, "agents.create", &error, &[Secret::from("tok-1234")]);
    assert!(refused.failure.detail.contains("bad [secret] "), "{}", refused.failure.detail);
}

#[test]
fn refused_calls_are_told_apart() {
    let error = |code: &str, message: &str, retryable| ErrorBody {
        code: code.to_owned(),
        message: message.to_owned(),
        retryable,
        ..ErrorBody::default()
    };
    let cause = |error: &ErrorBody| of_call(Stage::Agent, "agents.create", error, &[]).failure;
    assert_eq!(cause(&error("UNAVAILABLE", "Error: EPERM", false)).cause, Cause::CallRefused);
    assert!(cause(&error("UNAVAILABLE", "Error: EPERM", false)).detail.contains("workspace_root"));
    let gone =
        "OpenClaw workspace appears to have disappeared after a recent initialization: /ws/agent-x. Refusing";
    let gone = cause(&error("UNAVAILABLE", gone, false));
    assert!(gone.detail.contains("Register the gateway again"), "{}", gone.detail);
    assert_eq!(cause(&error("UNAVAILABLE", "busy", true)).cause, Cause::Unavailable);
    let scope = cause(&error("INVALID_REQUEST", "missing scope: operator.read", false));
    assert_eq!((scope.stage, scope.cause), (Stage::Handshake, Cause::ScopeMissing));
}
