//! The bounds of DESIGN.md §6 that concern one gateway.

use std::time::Duration;

/// Largest message and frame taken from a gateway, in bytes.
pub const INCOMING_BYTES_MAX: usize = 32 << 20;

/// Largest frame sent to a gateway, in bytes, unless its `policy.maxPayload` is smaller.
pub const OUTGOING_BYTES_MAX: usize = 512 << 10;

/// Time-outs of one attempt; `Default` is DESIGN.md §6.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Resolving the name.
    pub dns: Duration,
    /// Opening the TCP connection, over all checked addresses.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// From the HTTP request to its answer.
    pub upgrade: Duration,
    /// From the upgrade to `connect.challenge`.
    pub challenge: Duration,
    /// From `connect` to its answer.
    pub hello: Duration,
    /// One call.
    pub call: Duration,
    /// A call whose answer is not needed, the waits that the gateway asks for included: then we go on without it.
    pub optional: Duration,
    /// One attempt, clean-up not counted.
    pub attempt: Duration,
    /// What the gateway may ask to wait beside that, over one attempt (`retryAfterMs`).
    pub asked: Duration,
    /// The clean-up after a failed attempt.
    pub clean_up: Duration,
    /// With `Patience::Waiting`, no dial starts later than this after the first.
    pub waiting_dials: Duration,
    /// Shortest pause before another dial.
    pub redial_min: Duration,
    /// Longest pause before another dial that the gateway did not ask for.
    pub redial_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            dns: seconds(5),
            connect: seconds(5),
            tls: seconds(5),
            upgrade: seconds(5),
            challenge: seconds(2),
            hello: seconds(10),
            call: seconds(15),
            optional: seconds(5),
            attempt: seconds(60),
            asked: seconds(300),
            clean_up: seconds(2),
            waiting_dials: seconds(12),
            redial_min: Duration::from_millis(250),
            redial_max: seconds(2),
        }
    }
}
