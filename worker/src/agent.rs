//! What is written on a gateway for our agent. Pure: nothing here talks to one.

pub mod config_patch;
pub mod files;
pub mod sources;
pub mod templates;
