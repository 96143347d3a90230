//! A step at a real gateway becomes a row of docs/compatibility.md.

use std::time::{Duration, Instant};

use harness::openclaw::{
    Gateway, Proxy,
    compatibility::{Row, way},
    note,
};

use crate::registration::{Refusal, Registered};

/// What is to be seen from here on.
pub(crate) struct Look<'a> {
    gateway: &'a Gateway,
    proxy: Option<(&'a Proxy, usize)>,
    restarts: usize,
    since: Instant,
}

impl<'a> Look<'a> {
    pub(crate) fn at(gateway: &'a Gateway) -> Self {
        Self { gateway, proxy: None, restarts: gateway.restarts(), since: Instant::now() }
    }

    /// Connections are counted too.
    pub(crate) fn through(proxy: &'a Proxy, gateway: &'a Gateway) -> Self {
        Self { proxy: Some((proxy, proxy.connections())), ..Self::at(gateway) }
    }

    /// How a registration ended.
    pub(crate) fn registered(self, step: &'static str, result: &Result<Registered, Refusal>) {
        let outcome = match result {
            Ok(_) => "registered".to_owned(),
            Err(refusal) => refusal.in_words(),
        };
        self.saw(step, &outcome);
    }

    /// How anything else ended.
    pub(crate) fn saw(self, step: &'static str, outcome: &str) {
        self.end().saw(step, outcome);
    }

    /// The step is over; what it came to is known later.
    pub(crate) fn end(self) -> Seen<'a> {
        let took = self.since.elapsed();
        let restarts = self.gateway.restarts() - self.restarts;
        let connections = self.proxy.map(|(proxy, before)| proxy.connections() - before);
        Seen { gateway: self.gateway, took, restarts, connections }
    }
}

/// A step that is over.
pub(crate) struct Seen<'a> {
    gateway: &'a Gateway,
    took: Duration,
    restarts: usize,
    connections: Option<usize>,
}

impl Seen<'_> {
    pub(crate) fn saw(self, step: &'static str, outcome: &str) {
        keep(self.gateway, (step, outcome), (self.took, Some(self.restarts), self.connections));
    }
}

/// How a step ended in which the gateway was stopped and started by the test.
pub(crate) fn saw_over_a_stop(gateway: &Gateway, step: &'static str, outcome: &str, took: Duration) {
    keep(gateway, (step, outcome), (took, None, None));
}

fn keep(
    gateway: &Gateway,
    (step, outcome): (&'static str, &str),
    (took, restarts, connections): (Duration, Option<usize>, Option<usize>),
) {
    let options = gateway.options();
    let version = options.version.number();
    let row =
        Row { version, way: way(options), step, outcome: outcome.to_owned(), took, restarts, connections };
    note(&format!(
        "openclaw {version}, {}: {step}: {outcome} after {} ms, {restarts:?} restarts, {connections:?} connections",
        row.way,
        took.as_millis()
    ));
    row.keep();
}
