//! The other side of the socket. [`provision::provision`] is the way, read top-down; each file below is one stage of it.
//!
//! Everything a gateway says is hostile input: bounded in size and time, sanitized before it enters a text.

pub mod connect;
pub mod frame;
pub mod handshake;
pub mod identity;
pub mod limits;
pub mod policy;
pub mod probe;
pub mod provision;
pub mod refusal;
pub mod remove;
pub mod restart;
pub mod session;
pub mod status;
pub mod tls;
pub mod upgrade;
pub mod write;
pub mod write_config;

use std::sync::Arc;

use self::{
    identity::DeviceIdentity,
    limits::Limits,
    policy::{AddressPolicy, Resolver},
};

/// What every dial of this process needs; one per worker, shared by all jobs.
#[derive(Clone)]
pub struct Dialer {
    /// Which addresses may be dialled.
    pub policy: AddressPolicy,
    /// Turns names into addresses.
    pub resolver: Arc<dyn Resolver>,
    /// The installation's device.
    pub identity: DeviceIdentity,
    /// Time-outs of DESIGN.md §6.
    pub limits: Limits,
}
