//! A gateway's life: commands, events, states and refusals, and the values they are made of.

pub mod failure;
pub mod patience;
pub mod url;
pub mod version;
