//! The other side of the socket. [`provision::provision`] is the way, read top-down; each file below is one stage of it.
//!
//! Everything a gateway says is hostile input: bounded in size and time, sanitized before it enters a text.

pub mod connect;
pub mod deadline;
pub mod frame;
pub mod handshake;
pub mod identity;
pub mod limits;
pub mod policy;
pub mod probe;
pub mod provision;
pub mod refresh;
pub mod refusal;
pub mod remove;
pub mod restart;
mod roots;
pub mod session;
pub mod status;
pub mod tenure;
pub mod tls;
pub mod upgrade;
pub mod wake;
pub mod write;
pub mod write_config;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shared::{domain::gateway::failure::Stage, meter};
use tokio::sync::mpsc;

use self::{
    identity::DeviceIdentity,
    limits::Limits,
    policy::{AddressPolicy, Resolver},
    tenure::Tenure,
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
    /// Who is told of each stage that was passed.
    pub progress: Progress,
    /// Whether calls may be made.
    pub tenure: Tenure,
}

/// Tells somebody which stages of a dial were passed, and how long each took.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<mpsc::UnboundedSender<(Stage, Duration)>>);

impl Progress {
    /// Tells this receiver.
    #[must_use]
    pub fn to(sender: mpsc::UnboundedSender<(Stage, Duration)>) -> Self {
        Self(Some(sender))
    }

    /// A stage that began then was passed.
    pub fn passed(&self, stage: Stage, since: Instant) {
        let took = since.elapsed();
        meter::stage(stage, took);
        if let Some(sender) = &self.0 {
            // Nobody may listen any more.
            let _ = sender.send((stage, took));
        }
    }
}
