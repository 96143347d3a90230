//! The HTTP API and the operator's command line.
//!
//! A request runs through [`routes`]: id and log line ([`request`]), caller ([`auth`]), body ([`body`]), key
//! ([`idempotency`]), then one file per endpoint. [`problem`] turns every failure into its documented answer.

pub mod agents;
pub mod auth;
pub mod body;
pub mod change;
pub mod config;
pub mod docs;
pub mod events;
pub mod gateways;
pub mod guard;
pub mod health;
pub mod idempotency;
pub mod operations;
pub mod ops;
pub mod parameters;
pub mod prefer;
pub mod problem;
pub mod rates;
pub mod request;
pub mod routes;
pub mod serve;
pub mod state;
pub mod wait;
