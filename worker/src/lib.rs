//! Dials gateways and provisions their main agents.
//!
//! - [`gateway`]: one connection to one gateway, from the address policy to the calls, and the way of a creation.
//! - [`agent`]: what is written on a gateway: the agent's files and its own entry in the configuration.
//! - [`jobs`]: the runtime and the jobs; [`retry`] says what follows a failure, [`sweep`] finds lost jobs.
//! - [`monitor`]: probes registered gateways by itself; [`observe`] is what a look leaves, whoever asked for it.

pub mod agent;
pub mod config;
pub mod gateway;
pub mod health;
pub mod jobs;
pub mod monitor;
pub mod observe;
pub mod probe;
pub mod retry;
pub mod sweep;
