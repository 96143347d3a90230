//! How a fake gateway is set up.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde_json::Value;

use super::{Fault, Version};
use crate::authority::Certificate;

/// How far the gateway lets a control UI in without a device identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlUi {
    /// Not at all; the default of the real ones.
    Strict,
    /// `allowInsecureAuth`: from loopback, on 2026.6.11.
    InsecureAuth,
    /// `dangerouslyDisableDeviceAuth` too; 2026.9.6 ignores it.
    DeviceAuthDisabled,
}

/// A challenge fixed in advance, for recordings: the gateway's clock is `ts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Nonce to sign.
    pub nonce: String,
    /// Milliseconds since 1970, also the gateway's now.
    pub ts: u64,
}

/// Settings of a [`super::FakeGateway`].
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch, set by name")]
pub struct Options {
    /// Where it listens.
    pub address: IpAddr,
    /// Whose behaviour is played.
    pub version: Version,
    /// Shared token; `None` with no password is `auth.mode` `none`.
    pub token: Option<String>,
    /// Shared password, in place of the token.
    pub password: Option<String>,
    /// Faults from the start.
    pub faults: Vec<Fault>,
    /// Serve TLS with a self-signed certificate made at the start.
    pub tls: bool,
    /// In place of that one.
    pub certificate: Option<Certificate>,
    /// Every answer after hello takes at least this long.
    pub min_call_delay: Duration,
    /// Answers of pipelined calls come out of order.
    pub shuffle: bool,
    /// Sends presence and health events between the answers.
    pub chatty: bool,
    /// In place of the version's own `hello.server.version`.
    pub reported_version: Option<String>,
    /// Merged over the configuration at the start, member by member.
    pub initial_config: Value,
    /// Whether the configuration has `meta.lastTouchedVersion` from the start.
    pub config_meta: bool,
    /// Control UI mode.
    pub control_ui: ControlUi,
    /// `gateway.trustedProxies` names loopback: `X-Forwarded-For` is believed.
    pub trusted_proxy: bool,
    /// Device ids approved already.
    pub paired_devices: Vec<String>,
    /// Whether a `cli` on loopback is paired without approval.
    pub auto_approve_local: bool,
    /// Wrong secrets until every secret is refused for 5 min; `None` as for
    /// real loopback clients, never.
    pub lockout_after: Option<usize>,
    /// A client that has not sent `connect` by then is closed with 1000.
    pub handshake_timeout: Duration,
    /// Restart delays and down times of the real ones are divided by this.
    pub hurry: u32,
    /// The time in which a version takes only so many patches of its configuration.
    pub patch_window: Duration,
    /// `config.get` shows the configuration once and not in all its views: for tests with so many agents that its size
    /// would be what is measured.
    pub one_view: bool,
    /// Fixed challenge and clock.
    pub challenge: Option<Challenge>,
    /// Each connection finds the gateway as it was at the start, and no other sees what it does: for measurements, in
    /// which a gateway that fills up would be what is measured.
    pub forgets: bool,
}

impl Default for Options {
    /// 2026.9.6 with the token `gateway-token`, no faults, ten times the speed
    /// of a real one's restarts.
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            version: Version::V2026_9_6,
            token: Some("gateway-token".to_owned()),
            password: None,
            faults: Vec::new(),
            tls: false,
            certificate: None,
            min_call_delay: Duration::ZERO,
            shuffle: true,
            chatty: true,
            reported_version: None,
            initial_config: Value::Null,
            config_meta: false,
            control_ui: ControlUi::Strict,
            trusted_proxy: false,
            paired_devices: Vec::new(),
            auto_approve_local: true,
            lockout_after: None,
            handshake_timeout: Duration::from_secs(10),
            hurry: 10,
            patch_window: Duration::from_mins(1),
            one_view: false,
            challenge: None,
            forgets: false,
        }
    }
}

impl Options {
    /// The default with another version.
    #[must_use]
    pub fn version(version: Version) -> Self {
        Self { version, ..Self::default() }
    }

    /// The same with one more fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}
