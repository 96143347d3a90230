//! Registers real gateways and reads back from them what they hold afterwards.
//!
//! Each test starts a gateway of its own; npm installs them at the first run.

mod registration;
mod token;
