//! Real OpenClaw gateways from npm, on loopback, each with a home of its own.
//!
//! [`Gateway`] starts and stops one, [`Proxy`] stands before it and counts, [`Client`] asks it what it holds. Nothing
//! here uses the worker's client: what the worker did is checked by somebody else.

mod client;
pub mod compatibility;
mod gateway;
mod held;
mod install;
mod options;
mod process;
mod proxy;
mod tls;

pub use client::{Client, Refused};
pub use gateway::Gateway;
pub use held::Held;
pub use install::note;
pub use options::{Auth, Options, Version};
pub use proxy::Proxy;
