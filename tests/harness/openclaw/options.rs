//! How a gateway is set up.

use std::path::Path;

use serde_json::{Value, json};

/// A release that the tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The lowest that is supported; protocol 3, restarts for every write to its configuration.
    V2026_2_9,
    /// Protocol 4, `agents.list`, has `control_ui` mode.
    V2026_6_11,
    /// Protocol 4, `agents.entries`, no `control_ui` mode.
    V2026_9_6,
}

impl Version {
    /// From the oldest to the newest.
    pub const ALL: [Self; 3] = [Self::V2026_2_9, Self::V2026_6_11, Self::V2026_9_6];

    /// The number on npm.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::V2026_2_9 => "2026.2.9",
            Self::V2026_6_11 => "2026.6.11",
            Self::V2026_9_6 => "2026.9.6",
        }
    }
}

/// What a client has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// The secret in `auth.token`.
    Token,
    /// The secret in `auth.password`.
    Password,
    /// Nothing; not on 2026.2.9.
    None,
}

/// A gateway to be started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its release.
    pub version: Version,
    /// What it asks for.
    pub auth: Auth,
    /// Its token or password.
    pub secret: String,
    /// Whether it lets in a Control UI without a device (`dangerouslyDisableDeviceAuth`).
    pub control_ui: bool,
    /// Whether it serves TLS, with a certificate it makes itself.
    pub tls: bool,
    /// Whether it believes `X-Forwarded-For` from loopback.
    pub behind_proxy: bool,
    /// Merged into its configuration, over everything else.
    pub extra: Value,
}

impl Options {
    /// With a token, and nothing special.
    #[must_use]
    pub fn new(version: Version) -> Self {
        let (auth, secret, extra) = (Auth::Token, "gateway-secret-4711".to_owned(), Value::Null);
        Self { version, auth, secret, control_ui: false, tls: false, behind_proxy: false, extra }
    }

    /// The configuration file. The heartbeat of everybody is one that no default has, so that a lost one shows.
    pub(super) fn config(&self, folder: &Path, port: u16) -> Value {
        let auth = match self.auth {
            Auth::Token => json!({"mode": "token", "token": self.secret}),
            Auth::Password => json!({"mode": "password", "password": self.secret}),
            Auth::None => json!({"mode": "none"}),
        };
        let mut config = json!({
            "gateway": {"mode": "local", "bind": "loopback", "port": port, "auth": auth},
            "agents": {"defaults": {"workspace": folder.join("home/workspaces/main"), "heartbeat": {"every": "45m"}}},
            "logging": {"file": folder.join("openclaw.log")},
            "update": {"checkOnStart": false},
            "discovery": {"mdns": {"mode": "off"}},
            "browser": {"enabled": false},
            "cron": {"enabled": false},
        });
        if self.version == Version::V2026_9_6 {
            merge(&mut config, &json!({"models": {"catalogRefresh": {"enabled": false}}}));
        }
        if self.control_ui {
            let flags =
                json!({"enabled": true, "allowInsecureAuth": true, "dangerouslyDisableDeviceAuth": true});
            merge(&mut config, &json!({"gateway": {"controlUi": flags}}));
        }
        if self.tls {
            merge(&mut config, &json!({"gateway": {"tls": {"enabled": true, "autoGenerate": true}}}));
        }
        if self.behind_proxy {
            merge(&mut config, &json!({"gateway": {"trustedProxies": ["127.0.0.1"]}}));
        }
        merge(&mut config, &self.extra);
        config
    }
}

/// Objects are merged by key, everything else is replaced; `Null` changes nothing.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => into.clone_from(from),
    }
}
