//! Proves the fake gateway: what a real one was asked is asked again, with the
//! nonce and the clock of the recording, and the answers must agree.

mod client;
mod compare;
mod faults;
mod handshakes;
mod provisioning;
mod reads;
mod strictness;
