//! The schedule of probes as a whole: who is on it, and who has to leave it.

use std::time::Duration;

use crate::{
    clock::Clock,
    domain::gateway::url::GatewayUrl,
    store::{NewProbe, Store, StoreError, Unprobed},
    view::GatewayRead,
};

/// Gateways that are put on the schedule at a time.
const ENROL_MAX: u32 = 1_000;

/// What was changed of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Enrolled {
    /// Gateways that are probed from now on.
    pub added: u64,
    /// Gateways that are gone.
    pub dropped: u64,
    /// Gateways that work again, and are probed at once.
    pub resumed: u64,
}

/// Brings the schedule in line with the registered gateways: in batches, and without an event.
///
/// A new gateway is probed for the first time one interval after its creation; one that was registered long ago, at some
/// instant of the next interval.
///
/// # Errors
///
/// [`StoreError`]; what was done until then stays, and the next call does the rest.
pub async fn enrol(store: &dyn Store, clock: &dyn Clock, every: Duration) -> Result<Enrolled, StoreError> {
    // A working gateway waits one interval and a tenth at most.
    let tidied = store.tidy_probes(every.mul_f64(1.5), clock.now()).await?;
    let mut enrolled = Enrolled { dropped: tidied.dropped, resumed: tidied.resumed, ..Enrolled::default() };
    loop {
        let unprobed = store.unprobed(ENROL_MAX).await?;
        if unprobed.is_empty() {
            return Ok(enrolled);
        }
        let now = clock.now();
        let delay = |gateway: &Unprobed| {
            let age = (now - gateway.created_at).to_std().unwrap_or_default();
            every.checked_sub(age).unwrap_or_else(|| every.mul_f64(rand::random::<f64>()))
        };
        let probes: Vec<NewProbe> = unprobed
            .iter()
            .map(|gateway| NewProbe {
                gateway: gateway.gateway,
                gateway_key: key(&gateway.document),
                delay: delay(gateway),
            })
            .collect();
        let added = store.enrol_probes(&probes, now).await?;
        enrolled.added += added;
        if added == 0 {
            // Another process was faster.
            return Ok(enrolled);
        }
    }
}

/// The key of a stored gateway's address; empty for a document that cannot be read, which its probe will tell.
#[must_use]
pub fn key(document: &str) -> String {
    let read = serde_json::from_str::<GatewayRead>(document).ok();
    let url = read.and_then(|read| read.url.parse::<GatewayUrl>().ok());
    url.map(|url| url.key()).unwrap_or_default()
}
