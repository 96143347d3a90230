//! Everything the test rings above the unit tests share; nothing here ships.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a broken harness, and an assertion that does not hold, must stop the test"
)]

pub mod authority;
pub mod contract;
pub mod databases;
pub mod fake_gateway;
pub mod fleet;
pub mod openclaw;
pub mod page;
pub mod ports;
pub mod process;
pub mod site;
pub mod strangers;
pub mod world;
