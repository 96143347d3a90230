//! The same over PostgreSQL.

#[path = "main.rs"]
mod http;
