//! Ports for servers that are stopped and started again on the same one.

use std::{
    collections::VecDeque,
    net::TcpListener,
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Below the range from which Linux takes the ports of outgoing connections: none of those can take a server's port
/// while it is down. Real gateways have a range of their own above.
const PORTS: Range<u16> = 10_000..20_000;

/// So many ports that were given last are not given again.
const REMEMBERED: usize = 5_000;

/// A port of 127.0.0.1 that nobody listens on, and that nobody else was given lately: whoever counts on its being closed, or
/// on having it back, would meet another one's server there.
///
/// # Panics
///
/// If a hundred of them are taken.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: Mutex<VecDeque<u16>> = Mutex::new(VecDeque::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let random = || u16::try_from(uuid::Uuid::new_v4().as_u128() % u128::from(PORTS.end - PORTS.start));
    let ports = std::iter::repeat_with(|| PORTS.start + random().expect("it is below the range's length"));
    let mut unknown = ports.take(100).filter(|port| !given.contains(port));
    let port = unknown.find(|port| is_free(*port)).expect("one of 100 ports is free");
    if given.len() == REMEMBERED {
        given.pop_front();
    }
    given.push_back(port);
    port
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nobody_is_given_what_another_one_was_given() {
        let ports: HashSet<u16> = std::iter::repeat_with(free_port).take(2_000).collect();
        assert_eq!(ports.len(), 2_000);
    }
}
