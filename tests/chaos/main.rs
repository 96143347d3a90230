//! A fleet that registers gateways all the time, while something goes wrong for a while; then the log is asked whether
//! everything that was answered is in it, once.
//!
//! Each trouble lasts 15 s, or as long as `CHAOS_SECONDS` says: 60 by hand, see `docs/operating.md`.
#![expect(clippy::panic, clippy::unwrap_used, reason = "what is not there must fail the test")]
#![expect(clippy::print_stdout, reason = "rates and times are worth more than that they sufficed")]

mod scene;
mod troubles;
