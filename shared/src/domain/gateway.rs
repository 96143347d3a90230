//! A gateway's life: commands, events, states and refusals, and the values they are made of.

pub mod change;
pub mod command;
pub mod decide;
mod decide_change;
pub mod event;
mod evolve_change;
pub mod failure;
pub mod operation;
pub mod patience;
pub mod refusal;
pub mod state;
pub mod sync;
pub mod url;
pub mod version;

pub use command::Command;
pub use event::Event;
pub use operation::{End, Kind, Operation};
pub use refusal::Refusal;
pub use state::{Gateway, Known, Occurrence, Phase};
