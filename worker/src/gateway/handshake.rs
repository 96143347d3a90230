//! Challenge, connect, hello.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use shared::{
    domain::gateway::{
        failure::{Cause, Failure, Stage},
        url::GatewayUrl,
    },
    failpoint::{When, reach},
    secret::Secret,
};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message, error::ProtocolError};

use super::{
    Dialer,
    connect::{Socket, timed_out},
    frame::{self, ErrorBody, Incoming},
    limits::OUTGOING_BYTES_MAX,
    refusal::{self, Refused, Us},
};

/// As what we connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As a device with a key of its own; works with every version.
    Device,
    /// As the Control UI without a device (`disable_device_pairing`); newer gateways have no such mode.
    ControlUi,
}

/// In which field of `connect.auth` the credential is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `auth.token`.
    Token,
    /// `auth.password`, after the gateway said that a password is missing.
    Password,
}

/// What a gateway said of itself.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The protocol it chose, 3 or 4.
    pub protocol: u32,
    /// `server.version`, which may be `dev`.
    pub server_version: Option<String>,
    /// The granted scopes, where told.
    pub scopes: Option<Vec<String>>,
    /// A token for our device, where it issues one to a device that is paired.
    pub device_token: Option<Secret>,
    /// The methods it offers; empty where not told.
    pub methods: Vec<String>,
    /// The largest frame it takes from us, in bytes.
    pub outgoing_bytes_max: usize,
    /// From `connect` to hello.
    pub latency: Duration,
}

const SCOPES: [&str; 4] = ["operator.read", "operator.admin", "operator.approvals", "operator.pairing"];
const ROLE: &str = "operator";

/// Who connects where, and how.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    /// The gateway.
    pub url: &'a GatewayUrl,
    /// Its credential.
    pub token: Option<&'a Secret>,
    /// As what.
    pub mode: Mode,
    /// Where the credential goes.
    pub field: Field,
    /// What must not appear in any text.
    pub secrets: &'a [Secret],
}

/// Shakes hands on a fresh socket.
///
/// # Errors
/// The rows of API.md §1 for the stage `handshake`.
pub async fn shake(dialer: &Dialer, peer: Peer<'_>, socket: &mut Socket) -> Result<Hello, Refused> {
    let slow = |_| Refused::from(timed_out(Stage::Handshake, peer.url));
    let challenge =
        timeout(dialer.limits.challenge, challenge(socket, dialer, peer)).await.map_err(slow)??;
    let request = frame::request("connect", "connect", &params(dialer, peer, &challenge));
    let started = Instant::now();
    reach(When::Before, "call", || "connect".to_owned());
    let answer = async {
        if socket.send(Message::text(request)).await.is_err() {
            return Err(closed("", dialer, peer));
        }
        loop {
            if let Incoming::Answer { id, result } = next(socket, dialer, peer).await?
                && id == "connect"
            {
                return Ok(result);
            }
        }
    };
    let answer = timeout(dialer.limits.hello, answer).await.map_err(slow)??;
    reach(When::After, "call", || "connect".to_owned());
    match answer {
        Ok(payload) => {
            hello(&payload, started.elapsed()).ok_or_else(|| violation("hello is not valid").into())
        }
        Err(error) => Err(refused(&error, socket, dialer, peer).await),
    }
}

struct Challenge {
    nonce: String,
    ts: i64,
}

async fn challenge(socket: &mut Socket, dialer: &Dialer, peer: Peer<'_>) -> Result<Challenge, Refused> {
    loop {
        match next(socket, dialer, peer).await? {
            Incoming::Event { name, payload } if name == "connect.challenge" => {
                let nonce = payload.get("nonce").and_then(Value::as_str).filter(|nonce| nonce.len() <= 1024);
                let ts = payload.get("ts").and_then(Value::as_i64);
                return match (nonce, ts) {
                    (Some(nonce), Some(ts)) => Ok(Challenge { nonce: nonce.to_owned(), ts }),
                    _ => Err(violation("its connect.challenge is not valid").into()),
                };
            }
            Incoming::Event { .. } | Incoming::Answer { .. } | Incoming::Unknown => {}
        }
    }
}

async fn next(socket: &mut Socket, dialer: &Dialer, peer: Peer<'_>) -> Result<Incoming, Refused> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return frame::parse(&text).map_err(|_| violation("what it sent is not JSON").into());
            }
            Some(Ok(Message::Binary(_))) => return Err(violation("it sent binary data").into()),
            Some(Ok(Message::Close(close))) => {
                let reason = close.map(|close| (u16::from(close.code), close.reason.to_string()));
                return Err(match reason {
                    Some((1002 | 1008, reason)) => closed(&reason, dialer, peer),
                    _ => closed("", dialer, peer),
                });
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) if is_violation(&error) => {
                return Err(violation("a frame of it is not valid").into());
            }
            Some(Err(_)) | None => return Err(closed("", dialer, peer)),
        }
    }
}

/// Whether the socket broke because of what was sent and not because it was closed.
#[must_use]
pub fn is_violation(error: &tungstenite::Error) -> bool {
    let is_reset = |error: &ProtocolError| matches!(error, ProtocolError::ResetWithoutClosingHandshake);
    matches!(error, tungstenite::Error::Capacity(_) | tungstenite::Error::Utf8(_))
        || matches!(error, tungstenite::Error::Protocol(error) if !is_reset(error))
}

fn violation(what: &str) -> Failure {
    let detail = format!(
        "What answers there does not speak the gateway protocol: {what}. Is this an OpenClaw gateway? Check its \
         version: openclaw --version."
    );
    Failure::new(Stage::Handshake, Cause::ProtocolViolation, detail)
}

/// Closed without an error frame. A policy close that says what a refusal would say counts as that refusal: repeating
/// a credential that was just called wrong could lock us out.
fn closed(reason: &str, dialer: &Dialer, peer: Peer<'_>) -> Refused {
    let error = ErrorBody { message: reason.to_owned(), ..ErrorBody::default() };
    let refused = refusal::of_connect(&error, reason, us(dialer, peer));
    if !reason.is_empty() && refused.failure.cause != Cause::ProtocolViolation {
        return Refused { wants_password: false, ..refused };
    }
    let detail = format!(
        "The gateway closed the connection before it said hello. It may be starting or busy; try again shortly, or \
         check it: ps aux | grep openclaw, nc -zv {} {}.",
        peer.url.host_text(),
        peer.url.port()
    );
    Failure::new(Stage::Handshake, Cause::ClosedBeforeHello, detail).into()
}

fn us<'a>(dialer: &'a Dialer, peer: Peer<'a>) -> Us<'a> {
    Us { mode: peer.mode, device_id: dialer.identity.device_id(), secrets: peer.secrets }
}

/// The close frame after a refusal can name the pairing request; it comes at once or not at all.
async fn refused(error: &ErrorBody, socket: &mut Socket, dialer: &Dialer, peer: Peer<'_>) -> Refused {
    let close = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(close) = message {
                return close.map(|close| close.reason.to_string());
            }
        }
        None
    };
    let is_pairing = refusal::of_connect(error, "", us(dialer, peer)).failure.cause == Cause::PairingRequired;
    let reason =
        if is_pairing { timeout(Duration::from_millis(500), close).await.ok().flatten() } else { None };
    refusal::of_connect(error, reason.as_deref().unwrap_or_default(), us(dialer, peer))
}

fn params(dialer: &Dialer, peer: Peer<'_>, challenge: &Challenge) -> Value {
    let (client_id, client_mode) = match peer.mode {
        Mode::Device => ("gateway-client", "backend"),
        Mode::ControlUi => ("openclaw-control-ui", "ui"),
    };
    let mut params = json!({
        "minProtocol": 3, "maxProtocol": 4, "role": ROLE, "scopes": SCOPES,
        "client": {"id": client_id, "version": "1.0.0", "platform": "linux", "mode": client_mode},
    });
    let token = peer.token.filter(|_| peer.field == Field::Token).map_or("", Secret::expose);
    if peer.mode == Mode::Device {
        let claim = super::identity::Claim {
            client_id,
            client_mode,
            role: ROLE,
            scopes: &SCOPES,
            signed_at_ms: challenge.ts,
            token,
            nonce: &challenge.nonce,
        };
        let identity = &dialer.identity;
        insert(
            &mut params,
            "device",
            json!({
                "id": identity.device_id(), "publicKey": identity.public_key(), "signature": identity.sign(&claim),
                "signedAt": challenge.ts, "nonce": challenge.nonce,
            }),
        );
    }
    if let Some(secret) = peer.token {
        let name = if peer.field == Field::Token { "token" } else { "password" };
        insert(&mut params, "auth", json!({name: secret.expose()}));
    }
    params
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(object) = object {
        object.insert(key.to_owned(), value);
    }
}

/// Reads a hello; `None` if it is none. Never panics, whatever it is.
#[must_use]
pub fn hello(payload: &Value, latency: Duration) -> Option<Hello> {
    let protocol = payload.get("protocol")?.as_u64().and_then(|protocol| u32::try_from(protocol).ok())?;
    let texts = |value: Option<&Value>| {
        value?
            .as_array()
            .map(|all| all.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect::<Vec<_>>())
    };
    let payload_max = payload.pointer("/policy/maxPayload").and_then(Value::as_u64).unwrap_or(u64::MAX);
    Some(Hello {
        protocol,
        server_version: payload.pointer("/server/version").and_then(Value::as_str).map(ToOwned::to_owned),
        scopes: texts(payload.pointer("/auth/scopes")),
        device_token: payload
            .pointer("/auth/deviceToken")
            .and_then(Value::as_str)
            .filter(|token| (1..=4_096).contains(&token.len()) && !token.chars().any(char::is_control))
            .map(Secret::from),
        methods: texts(payload.pointer("/features/methods")).unwrap_or_default(),
        outgoing_bytes_max: usize::try_from(payload_max).unwrap_or(usize::MAX).min(OUTGOING_BYTES_MAX),
        latency,
    })
}
