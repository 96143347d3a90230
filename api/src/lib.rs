//! The HTTP API and the operator's command line.

pub mod config;
pub mod ops;
