//! A log that looks as if it had been lived: made by the pure core and the store, with the commits that the product makes.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use shared::{
    clock::{Clock as _, SystemClock},
    domain::gateway::{
        Command, Gateway, Occurrence,
        change::{Changes, UpdateRequested, Updated},
        command::Leftover,
        event::{MainAgent, Requested, Verified},
        failure::{Cause, Failure, Stage},
        patience::Patience,
        sync::{Options, SyncRequested, Synced},
    },
    envelope::Actor,
    execute::{Context, build},
    ids::{AgentId, GatewayId, OperationId, OrganizationId},
    store::Store,
};

/// Gateways whose life goes on at the same time.
const AT_ONCE: usize = 256;
/// Registered gateways that something happens to again, long after.
const REVISITED: usize = 4_096;

struct Filling {
    store: Arc<dyn Store>,
    organization: OrganizationId,
    lives: AtomicU64,
    events: AtomicU64,
    revisited: Mutex<Vec<(GatewayId, Gateway)>>,
}

/// Appends at least so many events, and tells how many.
///
/// Nine of ten registrations succeed (4 events); each of these
/// gateways is synchronized and renamed (2 and 2 events) while 256 others live beside it; the tenth fails at its second
/// attempt (3 events). With every fifth life goes a synchronization of some older gateway.
pub(crate) async fn fill(store: &Arc<dyn Store>, events: u64) -> f64 {
    let organization = store.organizations().await.expect("the store answers").remove(0).id;
    let filling = Arc::new(Filling {
        store: Arc::clone(store),
        organization,
        lives: AtomicU64::new(0),
        events: AtomicU64::new(0),
        revisited: Mutex::default(),
    });
    let lives: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let filling = Arc::clone(&filling);
            tokio::spawn(async move {
                while filling.events.load(Ordering::Relaxed) < events {
                    filling.live().await;
                }
            })
        })
        .collect();
    for life in lives {
        life.await.expect("every commit is taken");
    }
    let head = store.head().await.expect("the store answers").position;
    f64::from(u32::try_from(head).expect("there are not as many"))
}

impl Filling {
    async fn live(&self) {
        let number = self.lives.fetch_add(1, Ordering::Relaxed);
        let id = GatewayId::mint(SystemClock.now());
        let mut gateway = Gateway::Unknown;
        self.step(id, &mut gateway, Command::Request(Box::new(self.request(id, number)))).await;
        if number % 10 == 9 {
            let failure = Failure::new(
                Stage::Tcp,
                Cause::ConnectionRefused,
                "Nothing listens on 10.20.30.40:18789. Start the gateway, or correct the port of its URL.",
            );
            let (retry_at, agent_may_remain) = (SystemClock.now(), false);
            let again = Command::RecordAttemptFailed {
                attempt: 1,
                failure: failure.clone(),
                retry_at,
                agent_may_remain,
            };
            self.step(id, &mut gateway, again).await;
            let failed = Command::RecordFailed { failure, attempts: 2, leftover: Leftover::Nothing };
            self.step(id, &mut gateway, failed).await;
            return;
        }
        let created = Command::RecordCreated { verified: verified(), agent: agent(&gateway) };
        self.step(id, &mut gateway, created).await;
        self.synchronize(id, &mut gateway).await;
        self.rename(id, &mut gateway, number).await;
        if number.is_multiple_of(5)
            && let Some((id, mut old)) = self.exchange(number, (id, gateway))
        {
            self.synchronize(id, &mut old).await;
            self.exchange(number, (id, old));
        }
    }

    /// Puts a gateway among those that are revisited, and takes another from there.
    fn exchange(&self, number: u64, new: (GatewayId, Gateway)) -> Option<(GatewayId, Gateway)> {
        let mut revisited = self.revisited.lock().unwrap_or_else(PoisonError::into_inner);
        revisited.push(new);
        // Multiplied by a large odd number: all of them come, in no order.
        let which = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let count = revisited.len();
        (count > REVISITED).then(|| revisited.swap_remove(usize::try_from(which).unwrap_or(0) % count))
    }

    async fn synchronize(&self, id: GatewayId, gateway: &mut Gateway) {
        let sync = SyncRequested {
            operation: OperationId::mint(SystemClock.now()),
            patience: Patience::Background,
            by: "Ada Lovelace".to_owned(),
            options: Options { include_main: true, ..Options::default() },
        };
        self.step(id, gateway, Command::RequestSync(sync)).await;
        let synced = Synced { verified: Some(verified()), agent: Some(agent(gateway)), errors: vec![] };
        self.step(id, gateway, Command::RecordSynced(Box::new(synced))).await;
    }

    async fn rename(&self, id: GatewayId, gateway: &mut Gateway, number: u64) {
        let changes = Changes { name: Some(format!("Renamed Gateway {number}")), ..Changes::default() };
        let update = UpdateRequested {
            operation: OperationId::mint(SystemClock.now()),
            patience: Patience::Waiting,
            by: "Ada Lovelace".to_owned(),
            changes: changes.clone(),
        };
        self.step(id, gateway, Command::RequestUpdate { update: Box::new(update), only_at: None }).await;
        let updated =
            Updated { changes, verified: Some(verified()), agent: Some(agent(gateway)), leaves: None };
        self.step(id, gateway, Command::RecordUpdated(Box::new(updated))).await;
    }

    async fn step(&self, id: GatewayId, gateway: &mut Gateway, command: Command) {
        let events = gateway.decide(command).expect("a gateway's life is in order");
        let before = std::mem::take(gateway);
        let commit = build(&SystemClock, (id, before.clone()), &events, &context()).expect("events are JSON");
        let mut occurrence =
            Occurrence { at: commit.recorded_at, version: commit.expected, request_id: context().request_id };
        self.store.commit(commit).await.expect("a commit is taken");
        *gateway = events.iter().fold(before, |gateway, event| {
            occurrence.version += 1;
            gateway.evolve(event, &occurrence)
        });
        self.events.fetch_add(u64::try_from(events.len()).unwrap_or(0), Ordering::Relaxed);
    }

    fn request(&self, gateway: GatewayId, number: u64) -> Requested {
        let at = SystemClock.now();
        Requested {
            gateway,
            organization_id: self.organization,
            name: format!("Production Gateway {number}"),
            url: format!("wss://gateway-{number}.example.com:18789/").parse().expect("a URL"),
            workspace_root: "/home/ubuntu/.openclaw/workspaces".to_owned(),
            allow_insecure_tls: false,
            disable_device_pairing: false,
            gateway_agent_id: AgentId::mint(at),
            has_token: true,
            patience: Patience::Waiting,
            requested_by: "Ada Lovelace".to_owned(),
            operation: OperationId::mint(at),
        }
    }
}

fn context() -> Context {
    Context {
        actor: Actor::worker("worker-3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        request_id: Some("0199d0a2-7c1e-7f13-aa31-ef2cec8270e7".to_owned()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        worker_id: Some("worker-3f2504e0-4f89-11d3-9a0c-0305e82c3301".to_owned()),
        attempt: Some(1),
        causation_id: None,
        only_for: None,
    }
}

fn verified() -> Verified {
    let scopes =
        ["operator.admin", "operator.approvals", "operator.pairing", "operator.read", "operator.write"];
    Verified {
        runtime_version: "2026.9.6".to_owned(),
        protocol: 4,
        scopes: scopes.map(str::to_owned).into(),
        latency_ms: 23,
    }
}

fn agent(gateway: &Gateway) -> MainAgent {
    let Gateway::Known(known) = gateway else { panic!("it was asked for") };
    let id = known.request.gateway_agent_id.on_gateway();
    let files = ["AGENTS.md", "HEARTBEAT.md", "IDENTITY.md", "MEMORY.md", "SOUL.md", "TOOLS.md", "USER.md"];
    MainAgent {
        workspace: format!("{}/{id}", known.request.workspace_root),
        agent_id: id,
        files_written: files.map(str::to_owned).into(),
        files_moved: vec![],
        files_not_taken: vec![],
        config_form: "entries".to_owned(),
        wake: "started".to_owned(),
    }
}
