//! A gateway's life: commands, events, states and refusals, and the values they are made of.

pub mod command;
pub mod decide;
pub mod event;
pub mod failure;
pub mod patience;
pub mod refusal;
pub mod state;
pub mod url;
pub mod version;

pub use command::Command;
pub use event::Event;
pub use refusal::Refusal;
pub use state::{End, Gateway, Known, Occurrence, Operation, Phase};
