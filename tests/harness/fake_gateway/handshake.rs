//! Who may connect, and with which scopes.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::fault::Fault;
use super::refusal::Refusal;
use super::server::{Shared, Upgrade};
use super::{ControlUi, Version, schema};

mod auth;
mod pairing;

/// A handshake refused: the error of the answer and how the socket is closed.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) close: u16,
    pub(crate) reason: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.message.clone();
        Self { refusal, close: 1008, reason }
    }
}

/// A handshake accepted.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) scopes: Vec<String>,
    /// `hello.auth`; `None` leaves it out.
    pub(crate) auth: Option<Value>,
    pub(crate) protocol: u64,
}

/// One client's `connect` and what is known about it.
pub(crate) struct Client<'a> {
    shared: &'a Shared,
    version: Version,
    upgrade: &'a Upgrade,
    params: &'a Value,
    nonce: &'a str,
    now: u64,
}

impl<'a> Client<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        upgrade: &'a Upgrade,
        params: &'a Value,
        challenge: (&'a str, u64),
    ) -> Self {
        Self {
            shared,
            version: shared.options.version,
            upgrade,
            params,
            nonce: challenge.0,
            now: challenge.1,
        }
    }

    /// Decides as the real ones do, in their order of checks.
    pub(crate) fn judge(&self) -> Result<Admission, Refused> {
        schema::connect(self.version, self.params)?;
        let protocol = self.protocol()?;
        self.starting()?;
        self.origin()?;
        let device = self.params.get("device").filter(|device| device.is_object());
        match device {
            None => self.without_device()?,
            Some(device) => self.device(device)?,
        }
        self.secret()?;
        if let Some(device) = device {
            self.reload()?;
            self.pairing(device)?;
        }
        let mut scopes = self.granted(device.is_some());
        if self.shared.state().faults.has(&Fault::MissingScope) {
            scopes.clear();
        }
        Ok(Admission { auth: self.hello_auth(device, &scopes), scopes, protocol })
    }

    fn text(&self, pointer: &str) -> &str {
        self.params.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, pointer: &str) -> u64 {
        self.params.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    fn requested(&self) -> Vec<String> {
        let scopes = self.params.get("scopes").and_then(Value::as_array).cloned().unwrap_or_default();
        scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn is_ui(&self) -> bool {
        self.text("/client/id") == "openclaw-control-ui" || self.text("/client/mode") == "webchat"
    }

    /// Whether it counts as a client on another host.
    fn is_remote(&self) -> bool {
        self.upgrade.forwarded
    }

    fn coded(&self, refusal: Refusal, details: Value) -> Refusal {
        if self.version.has_detail_codes() { refusal.details(details) } else { refusal }
    }

    fn protocol(&self) -> Result<u64, Refused> {
        let only = self.shared.state().faults.take(|fault, _| {
            let Fault::ProtocolOnly(only) = fault else { return None };
            Some(*only)
        });
        let own = only.unwrap_or_else(|| self.version.protocol());
        let (min, max) = (self.number("/minProtocol"), self.number("/maxProtocol"));
        if (min..=max).contains(&own) {
            return Ok(own);
        }
        let details = if self.version.has_detail_codes() {
            json!({ "code": "PROTOCOL_MISMATCH", "clientMinProtocol": min, "clientMaxProtocol": max,
                    "expectedProtocol": own, "minimumProbeProtocol": own })
        } else {
            json!({ "expectedProtocol": own })
        };
        let refusal = Refusal::invalid("protocol mismatch").details(details);
        Err(Refused { close: 1002, ..Refused::from(refusal) })
    }

    fn starting(&self) -> Result<(), Refused> {
        let after = self.shared.state().faults.take(|fault, used| {
            let Fault::UnavailableWhileStarting { times, retry_after_ms } = fault else { return None };
            (used < *times).then_some(*retry_after_ms)
        });
        let Some(after) = after else { return Ok(()) };
        let refusal = Refusal::new("UNAVAILABLE", "gateway starting; retry shortly")
            .retryable(Some(after))
            .details(json!({ "reason": "startup-sidecars" }));
        Err(Refused { close: 1013, ..Refused::from(refusal) })
    }

    fn origin(&self) -> Result<(), Refused> {
        let refused = self.shared.state().faults.has(&Fault::OriginRefused);
        if !self.is_ui() && !refused {
            return Ok(());
        }
        let reason = match &self.upgrade.origin {
            None if !refused => "origin missing or invalid",
            Some(origin) if !refused && self.is_allowed(origin) => return Ok(()),
            _ => "origin not allowed",
        };
        let text = "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)";
        let details = json!({ "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason });
        Err(self.coded(Refusal::invalid(text), details).into())
    }

    fn is_allowed(&self, origin: &str) -> bool {
        if self.is_remote() && self.version > Version::V2026_2_9 {
            return false;
        }
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        host == self.upgrade.host || host == "localhost" || host.starts_with("localhost:")
    }

    fn without_device(&self) -> Result<(), Refused> {
        let has_secret =
            ["/auth/token", "/auth/password", "/auth/deviceToken"].iter().any(|at| !self.text(at).is_empty());
        if !self.is_ui() {
            return if has_secret || !self.needs_secret() {
                Ok(())
            } else {
                Err(self.identity_required().into())
            };
        }
        let open = match self.shared.options.control_ui {
            ControlUi::Strict => false,
            ControlUi::InsecureAuth => self.version == Version::V2026_6_11 && !self.is_remote(),
            ControlUi::DeviceAuthDisabled => self.version != Version::V2026_9_6,
        };
        if !open {
            let text = if self.version == Version::V2026_2_9 {
                "control ui requires HTTPS or localhost (secure context)"
            } else {
                "control ui requires device identity (use HTTPS or localhost secure context)"
            };
            return Err(self
                .coded(Refusal::invalid(text), json!({ "code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED" }))
                .into());
        }
        if self.version == Version::V2026_2_9 && !has_secret {
            return Err(self.identity_required().into());
        }
        Ok(())
    }

    fn identity_required(&self) -> Refusal {
        self.coded(
            Refusal::new("NOT_PAIRED", "device identity required"),
            json!({ "code": "DEVICE_IDENTITY_REQUIRED" }),
        )
    }

    fn device(&self, device: &Value) -> Result<(), Refused> {
        let bad = |text: &str, code: &str, reason: &str| {
            Err(self.coded(Refusal::invalid(text), json!({ "code": code, "reason": reason })).into())
        };
        let text = |key: &str| device.get(key).and_then(Value::as_str).unwrap_or_default();
        let key = BASE64_URL_SAFE_NO_PAD.decode(text("publicKey")).unwrap_or_default();
        if text("id") != hex::encode(Sha256::digest(&key)) {
            return bad("device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch");
        }
        if self.number("/device/signedAt").abs_diff(self.now) > self.version.skew_ms_max() {
            return bad(
                "device signature expired",
                "DEVICE_AUTH_SIGNATURE_EXPIRED",
                "device-signature-stale",
            );
        }
        let nonce = device.get("nonce").and_then(Value::as_str);
        if nonce.is_some_and(|nonce| nonce != self.nonce) {
            return bad("device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch");
        }
        let signature = BASE64_URL_SAFE_NO_PAD.decode(text("signature")).unwrap_or_default();
        if !self.payloads(text("id"), nonce).iter().any(|payload| is_signed(&key, &signature, payload)) {
            return bad("device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", "device-signature");
        }
        Ok(())
    }

    /// What may have been signed: v1 without a nonce (2026.2.9), v2, v3 (later).
    fn payloads(&self, id: &str, nonce: Option<&str>) -> Vec<String> {
        let token = Some(self.text("/auth/token")).filter(|token| !token.is_empty());
        let fields = [
            id,
            self.text("/client/id"),
            self.text("/client/mode"),
            self.text("/role"),
            &self.requested().join(","),
            &self.number("/device/signedAt").to_string(),
            token.unwrap_or_else(|| self.text("/auth/deviceToken")),
        ]
        .join("|");
        let Some(nonce) = nonce else { return vec![format!("v1|{fields}")] };
        let mut payloads = vec![format!("v2|{fields}|{nonce}")];
        if self.version > Version::V2026_2_9 {
            let (platform, family) = (self.text("/client/platform"), self.text("/client/deviceFamily"));
            payloads.push(format!(
                "v3|{fields}|{nonce}|{}|{}",
                platform.to_lowercase(),
                family.to_lowercase()
            ));
        }
        payloads
    }

    /// 2026.9.6 lets no control UI of another build in.
    fn reload(&self) -> Result<(), Refused> {
        if !self.is_ui() || self.version != Version::V2026_9_6 {
            return Ok(());
        }
        let build = self.version.hello().pointer("/server/buildId").cloned();
        let mut refusal = Refusal::new(
            "UNAVAILABLE",
            "protocol mismatch: Control UI updated; reload this page to continue",
        )
        .details(json!({ "code": "PROTOCOL_MISMATCH", "gatewayBuildId": build, "reloadRequired": true }));
        refusal.retryable = Some(false);
        Err(refusal.into())
    }
}

fn is_signed(key: &[u8], signature: &[u8], payload: &str) -> bool {
    let Ok(key) = key.try_into().map_err(drop).and_then(|key| VerifyingKey::from_bytes(key).map_err(drop))
    else {
        return false;
    };
    Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_strict(payload.as_bytes(), &signature).is_ok())
}
