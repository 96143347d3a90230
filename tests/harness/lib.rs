//! Everything the test rings above the unit tests share; nothing here ships.

pub mod databases;
pub mod fake_gateway;
pub mod openclaw;
