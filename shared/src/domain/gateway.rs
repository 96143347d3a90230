//! A gateway's life: commands, events, states and refusals, and the values they are made of.

pub mod change;
pub mod check_in;
pub mod command;
pub mod decide;
mod decide_change;
mod decide_health;
pub mod event;
mod evolve_change;
pub mod failure;
pub mod health;
pub mod operation;
pub mod patience;
pub mod refusal;
pub mod state;
pub mod sync;
pub mod url;
pub mod version;

pub use check_in::CheckIn;
pub use command::Command;
pub use event::Event;
pub use health::Health;
pub use operation::{End, Kind, Operation};
pub use refusal::Refusal;
pub use state::{Gateway, Known, Occurrence, Phase};
