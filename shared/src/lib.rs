//! What the API and the workers share: the domain, the event log, the queue and the settings.
//!
//! The map, in the order of use; a module names only modules above it:
//!
//! - [`ids`], [`secret`]: identifiers and values that never print.
//! - [`domain`]: pure decisions (`decide`, `evolve`), without IO, clock or randomness.

pub mod domain;
pub mod ids;
pub mod secret;
