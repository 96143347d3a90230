//! A crowd of clients that registers one gateway after the other, and what the log must say of it in the end.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::{ids::OrganizationId, store::Store};
use tokio::task::JoinHandle;

use super::Client;
use crate::{
    fake_gateway::{FakeGateway, Options},
    world::{audit, log},
};

/// Between two registrations of one client: the fleet is busy and not worn out, so that its rate is the clients'.
const PACE: Duration = Duration::from_millis(150);

/// Clients that go on until they are told to stop.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    next: AtomicUsize,
    is_over: AtomicBool,
    registered: Mutex<Vec<(String, FakeGateway)>>,
}

impl Shared {
    async fn register(self: Arc<Self>) {
        while !self.is_over.load(Ordering::Relaxed) {
            let gateway = FakeGateway::start(Options::default()).await;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let outcome = self.client.register(number, &gateway).await;
            let id = outcome["id"].as_str().expect("a registered gateway has an id").to_owned();
            self.registered.lock().unwrap_or_else(PoisonError::into_inner).push((id, gateway));
            tokio::time::sleep(PACE).await;
        }
    }
}

impl Crowd {
    /// So many clients like this one begin.
    #[must_use]
    pub fn of(count: usize, client: Client) -> Self {
        let shared = Arc::new(Shared {
            client,
            next: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            registered: Mutex::default(),
        });
        let clients = (0..count).map(|_| tokio::spawn(Arc::clone(&shared).register())).collect();
        Self { shared, clients }
    }

    /// How many registrations have ended.
    #[must_use]
    pub fn done(&self) -> usize {
        self.shared.registered.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many end within this time.
    pub async fn rate(&self, window: Duration) -> usize {
        let before = self.done();
        tokio::time::sleep(window).await;
        self.done() - before
    }

    /// Lets every client end what it has begun; the gateways by the ids that they were registered with.
    pub async fn end(self) -> Vec<(String, FakeGateway)> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("every registration has an outcome");
        }
        std::mem::take(&mut *self.shared.registered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Everything that was registered is in the log once, nothing else is, and no position is missing.
pub async fn assert_registered_once(
    store: &dyn Store,
    organization: OrganizationId,
    registered: &BTreeSet<String>,
) {
    audit(store, organization).await;
    let log = log(store).await;
    let positions = log.iter().map(|event| event.position);
    assert!(positions.eq(1..=u64::try_from(log.len()).unwrap_or_default()), "positions have gaps");
    let of_type = |name: &str| {
        let events = log.iter().filter(|event| event.event_type == name);
        events
            .map(|event| event.stream.as_str().trim_start_matches("gateway-").to_owned())
            .collect::<Vec<_>>()
    };
    for name in ["GatewayRequested", "GatewayCreated"] {
        let streams = of_type(name);
        assert_eq!(streams.len(), registered.len(), "{name}");
        assert_eq!(&streams.into_iter().collect::<BTreeSet<_>>(), registered, "{name}");
    }
    assert_eq!(of_type("GatewayCreationFailed"), Vec::<String>::new());
}
