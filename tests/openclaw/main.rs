//! Registers real gateways and reads back from them what they hold afterwards.
//!
//! Each test starts a gateway of its own; npm installs them at the first run.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "an assertion that does not hold, and a gateway that does not work, must stop the test"
)]

mod changes;
mod compatibility;
mod modes;
mod outages;
mod pairing;
mod probe;
mod registration;
mod removal;
mod token;
mod walk;
