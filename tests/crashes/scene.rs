//! A story is told up to the point at which a process dies, and on from there.

use std::time::{Duration, Instant};

use harness::{
    fake_gateway::{FakeGateway, Fault, HoldGuard, Options},
    world::idle,
};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{ids::GatewayId, register::secret_owners};
use tokio::net::TcpStream;

use crate::{
    installation::Installation,
    story::{End, Story, refuse},
};

const LIMIT: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(20);

/// What takes part.
struct Scene {
    story: Story,
    name: String,
    gateway: FakeGateway,
    /// Where a gateway moves to.
    second: FakeGateway,
    held: Option<HoldGuard>,
}

/// Plays it, and proves its end.
pub(crate) async fn play(installation: &mut Installation, (story, point): (Story, &str), what: &str) {
    let mut scene = Scene {
        story,
        name: uuid::Uuid::new_v4().to_string(),
        gateway: FakeGateway::start(story.gateway()).await,
        second: FakeGateway::start(Options::default()).await,
        held: None,
    };
    scene.prepare(installation, what).await;
    installation.arm(point);
    let (method, path, body) = scene.request(installation).await;
    let key = (method == Method::POST && path == GATEWAYS).then(|| scene.name.clone());
    let asking = tokio::spawn(installation.ask((method.clone(), &path, &body), key.as_deref()));
    scene.meanwhile(installation).await;
    let started = Instant::now();
    while !installation.is_dead() {
        assert!(started.elapsed() < LIMIT, "{what}: nobody died\n{}", installation.logs());
        scene.when_failed(installation).await;
        tokio::time::sleep(LOOK).await;
    }
    scene.lift_faults();
    installation.revive(what).await;
    let answer = asking.await.unwrap();
    // Who got no answer asks again, and a registration may always be asked for again with its key.
    if answer.is_none() || key.is_some() {
        let again = installation.ask((method, &path, &body), key.as_deref()).await;
        let (status, answer) = again.unwrap_or_else(|| panic!("{what}: no answer\n{}", installation.logs()));
        assert!([200, 202, 404, 409, 502].contains(&status), "{what}: {status} {answer:#}");
    }
    drop(scene.held.take());
    idle(installation.store.as_ref()).await;
    scene.assert_end(installation, what).await;
}

const GATEWAYS: &str = "/api/v1/gateways";

impl Scene {
    fn body(&self) -> Value {
        json!({"name": self.name, "url": self.gateway.url(), "workspace_root": "/ws", "token": "gateway-token"})
    }

    /// What must have happened before.
    async fn prepare(&mut self, installation: &Installation, what: &str) {
        match self.story {
            Story::Created
            | Story::CreatedOnOld
            | Story::CreatedWhenApproved
            | Story::Failed
            | Story::FailedAndUnreachable
            | Story::FailedAndCleaned
            | Story::FailedAndLeft => {}
            Story::CreatedLater => self.close().await,
            Story::Cancelled => {
                let held = self.gateway.hold("agents.files.set");
                self.register(installation, what).await;
                held.arrived().await;
                self.held = Some(held);
            }
            Story::Retried | Story::Erased => {
                self.register(installation, what).await;
                self.until(installation, "GatewayCreationFailed").await;
                idle(installation.store.as_ref()).await;
                self.gateway.set_faults(vec![]);
            }
            Story::Updated
            | Story::Moved
            | Story::UpdateFailed
            | Story::Renamed
            | Story::Synced
            | Story::SyncFailed
            | Story::Looked
            | Story::Deleted
            | Story::DeletionFailed => {
                self.register(installation, what).await;
                self.until(installation, "GatewayCreated").await;
                if self.story == Story::Renamed {
                    self.close().await;
                }
                if matches!(self.story, Story::SyncFailed | Story::DeletionFailed) {
                    self.gateway.set_faults(vec![Fault::LockedOut]);
                }
            }
        }
    }

    /// From now on dials are refused.
    async fn close(&self) {
        self.gateway.refuse_dials(true);
        while TcpStream::connect(("127.0.0.1", self.gateway.port())).await.is_ok() {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn register(&self, installation: &Installation, what: &str) {
        let asked = installation.ask((Method::POST, GATEWAYS, &self.body()), Some(&self.name)).await;
        assert_eq!(asked.map(|(status, _)| status), Some(202), "{what}: it is prepared");
    }

    async fn until(&self, installation: &Installation, event: &str) {
        let started = Instant::now();
        while self.count(installation, event).await == 0 {
            assert!(started.elapsed() < LIMIT, "no {event}\n{}", installation.logs());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn count(&self, installation: &Installation, event: &str) -> usize {
        let history = installation.history(&self.name).await;
        history.iter().filter(|recorded| recorded.event_type == event).count()
    }

    async fn id(&self, installation: &Installation) -> String {
        let history = installation.history(&self.name).await;
        history[0].stream.as_str().trim_start_matches("gateway-").to_owned()
    }

    /// What is asked for when it dies.
    async fn request(&self, installation: &Installation) -> (Method, String, Value) {
        let registered = !installation.history(&self.name).await.is_empty();
        let own =
            if registered { format!("{GATEWAYS}/{}", self.id(installation).await) } else { String::new() };
        let patch = |body| (Method::PATCH, own.clone(), body);
        match self.story {
            Story::Created
            | Story::CreatedOnOld
            | Story::CreatedLater
            | Story::CreatedWhenApproved
            | Story::Failed
            | Story::FailedAndUnreachable
            | Story::FailedAndCleaned
            | Story::FailedAndLeft => (Method::POST, GATEWAYS.to_owned(), self.body()),
            Story::Retried => (Method::POST, format!("{own}/retry"), Value::Null),
            Story::Cancelled => {
                let history = installation.history(&self.name).await;
                let operation = history[0].parse_metadata().unwrap().operation.unwrap();
                (Method::POST, format!("/api/v1/operations/{operation}/cancel"), Value::Null)
            }
            Story::Erased => (Method::GET, GATEWAYS.to_owned(), Value::Null),
            Story::Updated => patch(json!({"workspace_root": "/elsewhere"})),
            Story::Moved => patch(json!({"url": self.second.url()})),
            Story::UpdateFailed => patch(json!({"token": "not-the-token"})),
            Story::Renamed => patch(json!({"name": "another name"})),
            Story::Synced => (Method::POST, format!("{own}/templates/sync?reset_sessions=true"), Value::Null),
            Story::SyncFailed => (Method::POST, format!("{own}/templates/sync"), Value::Null),
            Story::Looked => (Method::GET, format!("{own}/status"), Value::Null),
            Story::Deleted | Story::DeletionFailed => (Method::DELETE, own, Value::Null),
        }
    }

    /// What happens after the request.
    async fn meanwhile(&self, installation: &Installation) {
        if self.story == Story::Erased {
            installation.let_a_day_pass().await;
        }
    }

    /// What ends when a registration has failed or a change was made, so that the rest of the story is told.
    async fn when_failed(&self, installation: &Installation) {
        let awaited = match self.story.changes_after() {
            Some(event) => self.count(installation, event).await,
            None => 0,
        };
        if awaited > 0 {
            self.lift_faults();
        }
    }

    /// What ends when it has died, so that the rest of the story comes to its end.
    fn lift_faults(&self) {
        self.gateway.refuse_dials(false);
        if matches!(self.story, Story::FailedAndUnreachable | Story::FailedAndCleaned) {
            self.gateway.set_faults(vec![refuse("agents.files.set")]);
        }
        self.gateway.approve_pairing();
    }

    async fn assert_end(&self, installation: &Installation, what: &str) {
        let terminal = self.story.terminal();
        // A change that took effect although nobody was told is asked for again, and is there already.
        let ends = self.count(installation, terminal).await;
        let is_repeated = matches!(
            self.story,
            Story::Synced | Story::SyncFailed | Story::DeletionFailed | Story::UpdateFailed
        );
        assert!(ends == 1 || (is_repeated && ends == 2), "{what}: {ends} times {terminal}");
        let ours = |gateway: &FakeGateway| {
            gateway.agents().iter().filter(|agent| agent.id.starts_with("agent-")).count()
        };
        let (here, there) = (ours(&self.gateway), ours(&self.second));
        let (agents, listed) = match self.story.end() {
            End::Active if self.story == Story::Moved => ((0, 1), true),
            End::Active => ((1, 0), true),
            End::Gone => ((0, 0), false),
            End::Left => ((1, 0), false),
        };
        assert_eq!((here, there), agents, "{what}: agents on the gateway");
        let woken = if self.story == Story::Moved { &self.second } else { &self.gateway };
        if listed {
            // An agent whose session begins anew is woken again.
            let wakes = woken.messages().len();
            assert!(wakes == 1 || (self.story == Story::Synced && wakes > 1), "{what}: woken {wakes} times");
        }
        if self.story.end() == End::Left {
            assert_eq!(self.count(installation, "MainAgentLeftBehind").await, 1, "{what}");
        }
        let id = self.id(installation).await;
        let shown = installation.get(&format!("{GATEWAYS}/{id}")).await.0;
        assert_eq!(shown, if listed { 200 } else { 404 }, "{what}: Get");
        let list = installation.get(&format!("{GATEWAYS}?limit=100")).await.1;
        let in_list =
            list["items"].as_array().unwrap().iter().filter(|item| item["id"] == id.as_str()).count();
        assert_eq!(in_list, usize::from(listed), "{what}: List");
        if matches!(self.story, Story::Deleted | Story::Erased) {
            // The tokens of other failed registrations may be erased first.
            self.until(installation, "SecretErased").await;
            for owner in secret_owners(id.parse::<GatewayId>().unwrap()) {
                assert!(
                    installation.store.secret(&owner).await.unwrap().is_none(),
                    "{what}: {owner} is left"
                );
            }
        }
    }
}
