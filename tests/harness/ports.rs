//! Ports for servers that are stopped and started again on the same one.

use std::{net::TcpListener, ops::Range};

/// Below the range from which Linux takes the ports of outgoing connections: none of those can take a server's port
/// while it is down. Real gateways have a range of their own above.
const PORTS: Range<u16> = 10_000..20_000;

/// A port of 127.0.0.1 that nobody listens on.
///
/// # Panics
///
/// If a hundred of them are taken.
#[must_use]
pub fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let random = || u16::try_from(uuid::Uuid::new_v4().as_u128() % u128::from(PORTS.end - PORTS.start));
    let mut ports =
        std::iter::repeat_with(|| PORTS.start + random().expect("it is below the range's length"));
    ports.by_ref().take(100).find(|port| is_free(*port)).expect("one of 100 ports is free")
}
