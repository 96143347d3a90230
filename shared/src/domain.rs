//! The pure core: what may happen, and what follows from what happened.
//!
//! No IO, no clock, no randomness: time and new ids come in as values.

pub mod gateway;
pub mod key;
pub mod organization;
pub mod queue;
