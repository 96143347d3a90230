//! What a gateway can be told to do wrong.

use std::time::Duration;

use serde_json::{Value, json};

use super::refusal::Refusal;

/// One fault. `times` counts how often it strikes before it is spent;
/// `usize::MAX` never is. A method of `connect` means the handshake.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Takes calls of the method and never answers them.
    MuteAt(String),
    /// Closes with the code when the method arrives, before acting on it.
    CloseAt {
        /// Method.
        method: String,
        /// WebSocket close code.
        code: u16,
        /// Strikes.
        times: usize,
    },
    /// Acts on the call, then closes with the code in place of the answer.
    CloseAfter {
        /// Method.
        method: String,
        /// WebSocket close code.
        code: u16,
        /// Strikes.
        times: usize,
    },
    /// Drops the TCP connection when the method arrives, before acting on it.
    DropAt {
        /// Method.
        method: String,
        /// Strikes.
        times: usize,
    },
    /// Acts on the call, then drops the TCP connection.
    DropAfter {
        /// Method.
        method: String,
        /// Strikes.
        times: usize,
    },
    /// Accepts TCP and drops it before the upgrade.
    DropAtAccept {
        /// Strikes.
        times: usize,
    },
    /// Upgrades and then says nothing, no challenge either.
    MuteAfterUpgrade,
    /// Answers the upgrade with an HTTP status.
    HttpAtUpgrade {
        /// HTTP status.
        status: u16,
        /// Strikes.
        times: usize,
    },
    /// Answers the upgrade with 302 and this `Location`.
    RedirectAtUpgrade(String),
    /// Restarts after each applied `config.patch`.
    RestartAfterPatch {
        /// How long it is away.
        down: Duration,
        /// From the answer to the close.
        delay: Duration,
        /// A second restart as soon as it is back.
        twice: bool,
    },
    /// The first call that names an agent just created answers that there is none.
    AgentNotFoundAfterCreate,
    /// The first `config.patch` is applied and its answer never arrives.
    LosePatchAnswer,
    /// `config.patch` says that the configuration has changed.
    StaleBaseHash {
        /// Strikes.
        times: usize,
    },
    /// The method answers that the rate limit is exceeded.
    RateLimited {
        /// Method.
        method: String,
        /// Told in the answer.
        retry_after_ms: u64,
        /// Strikes.
        times: usize,
    },
    /// `connect` answers `UNAVAILABLE` as 2026.9.6 does while it starts. How a
    /// real one closes then was not recorded; this one uses 1013.
    UnavailableWhileStarting {
        /// Strikes.
        times: usize,
        /// Told in the answer.
        retry_after_ms: u64,
    },
    /// Every token is refused, right or wrong.
    LockedOut,
    /// The device is not approved until so many connects were refused; `None` never.
    PairingRequired {
        /// Told in the answer.
        request_id: String,
        /// Refused connects.
        approved_after: Option<usize>,
    },
    /// Connects, but grants no scope.
    MissingScope,
    /// Refuses the origin of the upgrade.
    OriginRefused,
    /// The first frame is not JSON.
    NotJson,
    /// `config.get` answers at least so many bytes.
    BigConfig {
        /// Bytes added.
        bytes: usize,
    },
    /// `config.get` answers one frame of at least so many bytes.
    HugeFrame {
        /// Bytes added.
        bytes: usize,
    },
    /// The method's error text is this; `{token}` becomes the gateway token.
    EchoInError {
        /// Method.
        method: String,
        /// Text.
        text: String,
    },
    /// Closes with the code after `connect`, with no error frame.
    CloseBeforeHello {
        /// WebSocket close code.
        code: u16,
        /// Strikes.
        times: usize,
    },
    /// The method is always refused thus.
    RefuseCall {
        /// Method.
        method: String,
        /// `error.code`.
        code: String,
        /// `error.message`.
        message: String,
        /// `error.details`.
        details: Option<Value>,
        /// `error.retryable`.
        retryable: Option<bool>,
    },
    /// Speaks this protocol only, whatever the version does.
    ProtocolOnly(u64),
    /// The method does not exist, in `features.methods` either.
    UnknownMethod(String),
}

/// What one call meets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CallFault {
    Mute,
    Close(u16),
    Drop,
    Refuse(Refusal),
    CloseAfter(u16),
    DropAfter,
    Pad(usize),
}

/// The faults of one gateway with how often each has struck.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<(Fault, usize)>);

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self(faults.into_iter().map(|fault| (fault, 0)).collect())
    }

    /// The first fault that `pick` accepts, counted as a strike.
    pub(crate) fn take<T>(&mut self, pick: impl Fn(&Fault, usize) -> Option<T>) -> Option<T> {
        for (fault, used) in &mut self.0 {
            if let Some(found) = pick(fault, *used) {
                *used += 1;
                return Some(found);
            }
        }
        None
    }

    pub(crate) fn has(&self, wanted: &Fault) -> bool {
        self.0.iter().any(|(fault, _)| fault == wanted)
    }

    pub(crate) fn approve_pairing(&mut self) {
        self.0.retain(|(fault, _)| !matches!(fault, Fault::PairingRequired { .. }));
    }

    /// What the call meets. `agent` is the agent it names if that one was just created.
    pub(crate) fn at_call(&mut self, method: &str, agent: Option<&str>, token: &str) -> Option<CallFault> {
        let found = self.take(|fault, used| strike(fault, used, method));
        if found.is_some() {
            return found;
        }
        if let Some(agent) = agent
            && self
                .take(|fault, used| (*fault == Fault::AgentNotFoundAfterCreate && used == 0).then_some(()))
                .is_some()
        {
            return Some(CallFault::Refuse(Refusal::invalid(format!("agent \"{agent}\" not found"))));
        }
        self.take(|fault, _| match_echo(fault, method, token))
    }
}

fn match_echo(fault: &Fault, method: &str, token: &str) -> Option<CallFault> {
    let Fault::EchoInError { method: at, text } = fault else { return None };
    (at == method).then(|| CallFault::Refuse(Refusal::invalid(text.replace("{token}", token))))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other faults strike elsewhere or not now")]
fn strike(fault: &Fault, used: usize, method: &str) -> Option<CallFault> {
    match fault {
        Fault::MuteAt(at) if at == method => Some(CallFault::Mute),
        Fault::CloseAt { method: at, code, times } if at == method && used < *times => {
            Some(CallFault::Close(*code))
        }
        Fault::CloseAfter { method: at, code, times } if at == method && used < *times => {
            Some(CallFault::CloseAfter(*code))
        }
        Fault::DropAt { method: at, times } if at == method && used < *times => Some(CallFault::Drop),
        Fault::DropAfter { method: at, times } if at == method && used < *times => Some(CallFault::DropAfter),
        Fault::LosePatchAnswer if method == "config.patch" && used == 0 => Some(CallFault::DropAfter),
        Fault::StaleBaseHash { times } if method == "config.patch" && used < *times => {
            Some(CallFault::Refuse(Refusal::invalid(STALE)))
        }
        Fault::RateLimited { method: at, retry_after_ms, times } if at == method && used < *times => {
            Some(CallFault::Refuse(rate_limited(method, *retry_after_ms)))
        }
        Fault::BigConfig { bytes } | Fault::HugeFrame { bytes } if method == "config.get" => {
            Some(CallFault::Pad(*bytes))
        }
        Fault::UnknownMethod(at) if at == method => {
            Some(CallFault::Refuse(Refusal::invalid(format!("unknown method: {method}"))))
        }
        Fault::RefuseCall { method: at, code, message, details, retryable } if at == method => {
            let mut refusal = Refusal::new(code, message);
            refusal.details = details.clone().map(Box::new);
            refusal.retryable = *retryable;
            Some(CallFault::Refuse(refusal))
        }
        _ => None,
    }
}

/// The message of a stale `baseHash`.
pub(crate) const STALE: &str = "config changed since last load; re-run config.get and retry";

/// The answer of a gateway whose limit for the method is used up.
pub(crate) fn rate_limited(method: &str, after_ms: u64) -> Refusal {
    let seconds = after_ms.div_ceil(1000);
    Refusal::new("UNAVAILABLE", format!("rate limit exceeded for {method}; retry after {seconds}s"))
        .retryable(Some(after_ms))
        .details(json!({ "method": method, "limit": "3 per 60s" }))
}
