//! Everything the test rings above the unit tests share; nothing here ships.
#![expect(clippy::expect_used, reason = "a broken harness must stop the test")]

pub mod databases;
pub mod fake_gateway;
pub mod process;
pub mod world;
