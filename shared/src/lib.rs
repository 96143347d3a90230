//! What the API and the workers share: the domain, the event log, the queue and the settings.
//!
//! The map, in the order of use; a module names only modules above it:
//!
//! - [`chain`], [`clock`], [`ids`], [`secret`], [`telemetry`], [`failpoint`]: errors for people, time, identifiers, values
//!   that never print, logs, where a test lets a process die.
//! - [`domain`]: pure decisions (`decide`, `evolve`), without IO, clock or randomness.
//! - [`upcast`], [`envelope`], [`job`], [`problem`], [`view`]: what is recorded, done, answered and shown.
//! - [`meter`], [`commit`]: what is counted; one transaction, as a value.
//! - [`store`]: the only place that knows SQL.
//! - [`config`], [`token`], [`vault`], [`presence`], [`watch`], [`scrape`]: settings, credentials, sealing, who is
//!   there, waiting for outcomes, and the page of metrics.
//! - [`execute`], [`register`], [`install`]: the road from a command to the log; [`steer`] and [`rotate`] are the
//!   operator's, [`monitor`] the schedule of probes.
//! - [`checkpoint`], [`beside`], [`verify`], [`rebuild`]: sign the log, and, on every core, prove it and make the read
//!   models of it again.

pub mod beside;
pub mod chain;
pub mod checkpoint;
pub mod clock;
pub mod commit;
pub mod config;
pub mod domain;
pub mod envelope;
pub mod execute;
pub mod failpoint;
pub mod ids;
pub mod install;
pub mod job;
pub mod meter;
pub mod monitor;
pub mod presence;
pub mod problem;
pub mod rebuild;
pub mod register;
pub mod rotate;
pub mod scrape;
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
