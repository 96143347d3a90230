//! Registers real gateways and reads back from them what they hold afterwards.
//!
//! Each test starts a gateway of its own; npm installs them at the first run.

mod modes;
mod outages;
mod pairing;
mod registration;
mod removal;
mod token;
