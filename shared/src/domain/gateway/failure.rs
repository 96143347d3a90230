//! What a gateway did wrong: where, why, and what that means for the next try and for the caller.
//!
//! The table of API.md §1, "What the gateway did → code, stage, verdict", as types.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The step of provisioning at which something happened, in the order of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The address was checked against the address policy.
    Policy,
    /// The host name was resolved.
    Dns,
    /// The TCP connection was opened.
    Tcp,
    /// The TLS session was opened.
    Tls,
    /// The HTTP connection was upgraded to a WebSocket.
    Upgrade,
    /// Challenge, connect and hello.
    Handshake,
    /// The runtime version was determined and compared.
    Version,
    /// The main agent was created.
    Agent,
    /// The agent's own entry in the gateway's configuration was written.
    Config,
    /// The agent's files were written.
    Files,
    /// The session was labelled and the agent was sent its first message.
    Wake,
}

impl Stage {
    /// Every stage, in the order of the steps.
    pub const ALL: [Self; 11] = [
        Self::Policy,
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Upgrade,
        Self::Handshake,
        Self::Version,
        Self::Agent,
        Self::Config,
        Self::Files,
        Self::Wake,
    ];

    /// The stored and documented name, for example `handshake`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
            Self::Handshake => "handshake",
            Self::Version => "version",
            Self::Agent => "agent",
            Self::Config => "config",
            Self::Files => "files",
            Self::Wake => "wake",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The problem code that a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 502: nothing answers there, or it went away.
    GatewayUnreachable,
    /// 502: it answers too slowly or not at all.
    GatewayTimeout,
    /// 502: TLS could not be agreed on.
    GatewayTlsFailed,
    /// 502: the credential was refused.
    GatewayAuthFailed,
    /// 502: a person must approve this installation's device on the gateway.
    GatewayPairingRequired,
    /// 502: the connection was accepted without the scopes that provisioning needs.
    GatewayScopeMissing,
    /// 502: the gateway refuses the Origin of `control_ui` mode.
    GatewayOriginRejected,
    /// 502: what answers there does not speak the gateway protocol, or another version of it.
    GatewayProtocolError,
    /// 502: the gateway refused a call that provisioning needs.
    GatewayProvisioningFailed,
    /// 502: our own address policy forbids to dial it.
    GatewayAddressRefused,
    /// 503: the version is below the minimum, or cannot be told.
    GatewayVersionUnsupported,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::GatewayUnreachable,
        Self::GatewayTimeout,
        Self::GatewayTlsFailed,
        Self::GatewayAuthFailed,
        Self::GatewayPairingRequired,
        Self::GatewayScopeMissing,
        Self::GatewayOriginRejected,
        Self::GatewayProtocolError,
        Self::GatewayProvisioningFailed,
        Self::GatewayAddressRefused,
        Self::GatewayVersionUnsupported,
    ];

    /// The documented name, for example `gateway_unreachable`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GatewayUnreachable => "gateway_unreachable",
            Self::GatewayTimeout => "gateway_timeout",
            Self::GatewayTlsFailed => "gateway_tls_failed",
            Self::GatewayAuthFailed => "gateway_auth_failed",
            Self::GatewayPairingRequired => "gateway_pairing_required",
            Self::GatewayScopeMissing => "gateway_scope_missing",
            Self::GatewayOriginRejected => "gateway_origin_rejected",
            Self::GatewayProtocolError => "gateway_protocol_error",
            Self::GatewayProvisioningFailed => "gateway_provisioning_failed",
            Self::GatewayAddressRefused => "gateway_address_refused",
            Self::GatewayVersionUnsupported => "gateway_version_unsupported",
        }
    }

    /// 502, or 503 for an unsupported version.
    #[must_use]
    pub const fn status(self) -> u16 {
        if matches!(self, Self::GatewayVersionUnsupported) { 503 } else { 502 }
    }
}

/// Why the attempt ended; finer than [`Code`], one value for each thing that is told or repeated differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The address policy forbids every or one of the addresses.
    AddressForbidden,
    /// The name does not resolve.
    HostUnknown,
    /// Connection refused, no route, or reset before anything was said.
    ConnectionRefused,
    /// HTTP 502, 503 or 504 at the upgrade.
    UpgradeUnavailable,
    /// Any step took longer than its limit.
    TimedOut,
    /// Any TLS failure, `wss://` to a plain port, `ws://` to a TLS port.
    TlsFailed,
    /// HTTP 401 or 403 at the upgrade.
    UpgradeForbidden,
    /// Another HTTP answer at the upgrade, a redirect included.
    UpgradeRejected,
    /// Closed before hello without an error frame.
    ClosedBeforeHello,
    /// Not JSON before hello, an over-size frame, `invalid connect params`, or an unknown refusal of connect.
    ProtocolViolation,
    /// No common protocol version.
    ProtocolMismatch,
    /// The token, password or device signature was refused.
    CredentialRejected,
    /// Too many wrong credentials came from our address; the gateway refuses all for a while.
    LockedOut,
    /// Pairing required: a person must approve the device.
    PairingRequired,
    /// `control_ui` mode is not allowed on this gateway, or its version has none any more.
    ControlUiRefused,
    /// A scope is missing.
    ScopeMissing,
    /// The Origin was refused.
    OriginRefused,
    /// The version is below the minimum.
    VersionTooLow,
    /// The version cannot be parsed or told.
    VersionUnknown,
    /// UNAVAILABLE with `retryable` that outlasted the patience.
    Unavailable,
    /// 1001, 1006, 1012 or a dropped connection that outlasted the patience.
    ConnectionLost,
    /// A needed call was refused for good.
    CallRefused,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass by itself.
    Transient,
    /// It stays so until somebody changes something.
    Permanent,
    /// Permanent, and the credential must not be sent again by itself: ten wrong tries lock our address out.
    NeverRepeat,
    /// A person must approve; polled while the patience lasts.
    AwaitApproval,
}

impl Cause {
    /// The code a caller sees for this cause.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::AddressForbidden => Code::GatewayAddressRefused,
            Self::HostUnknown
            | Self::ConnectionRefused
            | Self::UpgradeUnavailable
            | Self::ClosedBeforeHello
            | Self::Unavailable
            | Self::ConnectionLost => Code::GatewayUnreachable,
            Self::TimedOut => Code::GatewayTimeout,
            Self::TlsFailed => Code::GatewayTlsFailed,
            Self::UpgradeForbidden | Self::CredentialRejected | Self::LockedOut => Code::GatewayAuthFailed,
            Self::UpgradeRejected | Self::ProtocolViolation | Self::ProtocolMismatch => {
                Code::GatewayProtocolError
            }
            Self::PairingRequired | Self::ControlUiRefused => Code::GatewayPairingRequired,
            Self::ScopeMissing => Code::GatewayScopeMissing,
            Self::OriginRefused => Code::GatewayOriginRejected,
            Self::VersionTooLow | Self::VersionUnknown => Code::GatewayVersionUnsupported,
            Self::CallRefused => Code::GatewayProvisioningFailed,
        }
    }

    /// What the cause means for another try.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::HostUnknown
            | Self::ConnectionRefused
            | Self::UpgradeUnavailable
            | Self::ClosedBeforeHello
            | Self::Unavailable
            | Self::ConnectionLost
            | Self::TimedOut => Verdict::Transient,
            Self::AddressForbidden
            | Self::TlsFailed
            | Self::UpgradeRejected
            | Self::ProtocolViolation
            | Self::ProtocolMismatch
            | Self::ControlUiRefused
            | Self::ScopeMissing
            | Self::OriginRefused
            | Self::VersionTooLow
            | Self::VersionUnknown
            | Self::CallRefused => Verdict::Permanent,
            Self::UpgradeForbidden | Self::CredentialRejected | Self::LockedOut => Verdict::NeverRepeat,
            Self::PairingRequired => Verdict::AwaitApproval,
        }
    }
}

/// How an attempt failed: everything that the caller is told. Holds no secret; foreign text in it is sanitized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where it happened.
    pub stage: Stage,
    /// Why.
    pub cause: Cause,
    /// One or a few sentences for a person: what happened and what to do next.
    pub detail: String,
    /// The gateway's version, where it was learnt before the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_version: Option<String>,
    /// The minimum version, for a version failure only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_version: Option<String>,
    /// Our device id, where a person must approve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The gateway's pairing request, where it told one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairing_request_id: Option<String>,
}

impl Failure {
    /// A failure without the optional fields.
    #[must_use]
    pub fn new(stage: Stage, cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            stage,
            cause,
            detail: detail.into(),
            runtime_version: None,
            minimum_version: None,
            device_id: None,
            pairing_request_id: None,
        }
    }
}
