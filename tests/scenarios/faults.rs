//! Everything a gateway can do wrong, at every step at which it can happen, and what the caller is told (API.md §1).
//!
//! A [`Case`] is one row: what is there, and how the registration of it ends. [`run`] registers them all in one
//! installation per backend, many at once, and holds each answer, the gateway and the log against its row.

mod a_while;
mod calls;
mod case;
mod handshake;
mod left_behind;
mod not_yet;
mod outcome;
mod patience;
mod reach;
mod restarts;
mod run;
mod standing;
mod texts;
mod version;
