//! What the API and the workers share: the domain, the event log, the queue and the settings.
//!
//! The map, in the order of use; a module names only modules above it:
//!
//! - [`chain`], [`clock`], [`ids`], [`secret`], [`telemetry`]: errors for people, time, identifiers, values that never
//!   print, logs and metrics.
//! - [`domain`]: pure decisions (`decide`, `evolve`), without IO, clock or randomness.
//! - [`upcast`], [`envelope`], [`job`], [`problem`], [`view`]: what is recorded, done, answered and shown.
//! - [`commit`]: one transaction, as a value.
//! - [`store`]: the only place that knows SQL.
//! - [`config`], [`token`], [`vault`], [`watch`]: settings, credentials, sealing, and waiting for outcomes.
//! - [`execute`], [`register`], [`install`]: the road from a command to the log; [`steer`] is the operator's,
//!   [`monitor`] the schedule of probes.
//! - [`checkpoint`], [`verify`], [`rebuild`]: sign the log, prove it, and make the read models of it again.

pub mod chain;
pub mod checkpoint;
pub mod clock;
pub mod commit;
pub mod config;
pub mod domain;
pub mod envelope;
pub mod execute;
pub mod ids;
pub mod install;
pub mod job;
pub mod monitor;
pub mod problem;
pub mod rebuild;
pub mod register;
pub mod secret;
pub mod steer;
pub mod store;
pub mod telemetry;
pub mod token;
pub mod upcast;
pub mod vault;
pub mod verify;
pub mod view;
pub mod watch;
