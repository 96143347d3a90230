//! One sample of every event ever written: each still reads, and no event changes its shape without a new version.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use shared::{
    domain::{
        gateway::{self, change, failure::*, patience::Patience, sync},
        key,
        organization::{self, Member, Role, Token},
        queue,
    },
    envelope::{Hash, NewEvent, Recorded, StreamId},
};
use uuid::Uuid;

use crate::source::root;

const FOLDER: &str = "tests/samples/events";

fn id<T: From<Uuid>>() -> T {
    T::from(Uuid::from_u128(1))
}

fn time() -> chrono::DateTime<chrono::Utc> {
    shared::clock::from_micros(1_772_706_600_000_000)
}

fn text() -> String {
    "text".to_owned()
}

/// With everything that it can have.
fn failure() -> Failure {
    Failure {
        stage: Stage::Version,
        cause: Cause::VersionTooLow,
        detail: text(),
        runtime_version: Some(text()),
        minimum_version: Some(text()),
        device_id: Some(text()),
        pairing_request_id: Some(text()),
    }
}

fn verified() -> gateway::event::Verified {
    gateway::event::Verified { runtime_version: text(), protocol: 3, scopes: vec![text()], latency_ms: 1 }
}

fn main_agent() -> gateway::event::MainAgent {
    gateway::event::MainAgent {
        agent_id: text(),
        workspace: text(),
        files_written: vec![text()],
        files_moved: vec![text()],
        files_not_taken: vec![text()],
        config_form: text(),
        wake: text(),
    }
}

fn ailment() -> Box<gateway::health::Ailment> {
    Box::new(gateway::health::Ailment { failure: failure(), misses: 3 })
}

fn changes() -> change::Changes {
    change::Changes {
        name: Some(text()),
        url: Some("ws://gateway.example:18789".parse().expect("a URL of a gateway")),
        workspace_root: Some("/ws".to_owned()),
        token: Some(change::TokenChange::Set),
        allow_insecure_tls: Some(true),
        disable_device_pairing: Some(true),
    }
}

#[expect(clippy::too_many_lines, reason = "one of each event")]
fn of_gateways() -> Vec<gateway::Event> {
    use gateway::Event;
    let (operation, patience, by) = (id(), Patience::Background, text());
    let code = Code::GatewayVersionUnsupported;
    vec![
        Event::Requested(Box::new(gateway::event::Requested {
            gateway: id(),
            organization_id: id(),
            name: text(),
            url: "ws://gateway.example:18789".parse().expect("a URL of a gateway"),
            workspace_root: "/ws".to_owned(),
            allow_insecure_tls: false,
            disable_device_pairing: false,
            gateway_agent_id: "agent-01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("an agent's id"),
            has_token: true,
            patience,
            requested_by: text(),
            operation,
        })),
        Event::AttemptFailed { attempt: 1, failure: failure(), retry_at: time(), agent_may_remain: true },
        Event::PairingRequired {
            device_id: text(),
            request_id: Some(text()),
            approve: text(),
            until: time(),
            agent_may_remain: true,
        },
        Event::Verified(verified()),
        Event::MainAgentProvisioned(main_agent()),
        Event::Created {},
        Event::CreationFailed { failure: failure(), code, attempts: 1, agent_may_remain: true },
        Event::MainAgentRemoved { agent_id: text(), why: text() },
        Event::MainAgentLeftBehind { agent_id: text(), why: text() },
        Event::CreationRetried { operation, patience, by: by.clone() },
        Event::CreationCancelled { operation, by: by.clone(), reason: text() },
        Event::UpdateRequested(Box::new(change::UpdateRequested {
            operation,
            patience,
            by: by.clone(),
            changes: changes(),
        })),
        Event::Updated(Box::new(change::Updated {
            changes: changes(),
            verified: Some(verified()),
            agent: Some(main_agent()),
            leaves: Some(text()),
        })),
        Event::UpdateFailed(Box::new(change::UpdateFailed {
            failure: failure(),
            code,
            attempts: 1,
            left_behind: Some(text()),
        })),
        Event::SyncRequested(sync::SyncRequested {
            operation,
            patience,
            by: by.clone(),
            options: sync::Options::default(),
        }),
        Event::Synced(Box::new(sync::Synced {
            verified: Some(verified()),
            agent: Some(main_agent()),
            errors: vec![sync::AgentFault { agent_id: text(), agent_name: text(), message: text() }],
        })),
        Event::SyncFailed(Box::new(sync::SyncFailed { failure: failure(), code, attempts: 1 })),
        Event::DeletionRequested { operation, patience, force: false, by },
        Event::Deleted { removed: vec![text()], left: vec![text()], why: Some(text()) },
        Event::DeletionFailed { failure: failure(), code, attempts: 1 },
        Event::WentOffline(ailment()),
        Event::Degraded(ailment()),
        Event::CameOnline { latency_ms: 1 },
        Event::VersionChanged { from: text(), verified: verified() },
        Event::MainAgentCheckedIn { at: time() },
        Event::MainAgentMissedCheckIn { waited_ms: 1 },
        Event::MainAgentWentOffline { wakes: 1, why: text() },
        Event::SecretErased { which: text(), why: text() },
    ]
}

fn of_organizations() -> Vec<organization::Event> {
    use organization::Event;
    vec![
        Event::OrganizationCreated { name: text() },
        Event::MemberAdded(Member { member: id(), name: text(), role: Role::Owner }),
        Event::MemberRoleChanged { member: id(), role: Role::Admin },
        Event::MemberRemoved { member: id() },
        Event::TokenIssued(Token {
            token: id(),
            member: Some(id()),
            role: Some(Role::Member),
            operator: false,
            expires_at: Some(time()),
        }),
        Event::TokenRevoked { token: id() },
    ]
}

fn of_the_queue() -> Vec<queue::Event> {
    use queue::{Changed, Event};
    let changed =
        || Changed { job: id(), kind: "erase_token".to_owned(), gateway: id(), operation: id(), by: text() };
    vec![
        Event::Paused { by: text(), reason: text() },
        Event::Resumed { by: text() },
        Event::WorkerDrained { worker: text(), by: text(), reason: text() },
        Event::WorkerResumed { worker: text(), by: text() },
        Event::JobRetried(changed()),
        Event::JobCancelled(changed()),
        Event::Reconciled { by: text(), gateways: 1 },
        Event::ReadModelsRebuilt { by: text() },
    ]
}

fn of_the_key() -> Vec<key::Event> {
    use key::Event;
    vec![
        Event::RotationBegun { from: text(), to: text(), by: text() },
        Event::Rotated { from: text(), to: text(), secrets: 1, by: text() },
    ]
}

/// Every event as it is written now: name, version and data.
fn written() -> Vec<(String, u32, Value)> {
    let gateways = of_gateways().into_iter().map(serde_json::to_value);
    let organizations = of_organizations().into_iter().map(serde_json::to_value);
    let queue = of_the_queue().into_iter().map(serde_json::to_value);
    let key = of_the_key().into_iter().map(serde_json::to_value);
    let metadata = shared::envelope::Metadata::of(shared::envelope::Actor::command_line());
    let events =
        gateways.chain(organizations).chain(queue).chain(key).map(|event| event.expect("an event is JSON"));
    let stored = events.map(|event| NewEvent::new(id(), &event, &metadata).expect("an event can be stored"));
    stored
        .map(|new| {
            let data = serde_json::from_str(&new.data).expect("data is JSON");
            (new.event_type, new.schema_version, data)
        })
        .collect()
}

/// The keys of an object, those of objects in it after a slash.
fn keys(value: &Value, place: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let place = format!("{place}/{key}");
                keys(value, &place, found);
                found.insert(place);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, &format!("{place}/*"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn shape(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    found
}

#[test]
fn an_event_does_not_change_its_shape_without_a_new_version() {
    for (name, version, data) in written() {
        let path = root().join(FOLDER).join(format!("v{version}")).join(format!("{name}.json"));
        let sample = fs::read_to_string(&path).unwrap_or_else(|_| {
            panic!("{} is missing; the event is written as:\n{data:#}", path.display());
        });
        let sample: Value = serde_json::from_str(&sample).expect("a sample is JSON");
        assert_eq!(
            shape(&sample),
            shape(&data),
            "{name} has another shape than version {version} has: add a step to shared/src/upcast.rs and a sample"
        );
    }
}

#[test]
fn every_event_has_an_example() {
    let mut names: Vec<&str> = gateway::Event::NAMES.to_vec();
    names.extend(organization::Event::NAMES);
    names.extend(queue::Event::NAMES);
    names.extend(key::Event::NAMES);
    let written = written();
    let examples: Vec<&str> = written.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(examples, names);
}

#[test]
fn what_is_noticed_is_known_by_name() {
    for event in of_gateways() {
        let metadata = shared::envelope::Metadata::of(shared::envelope::Actor::command_line());
        let name = NewEvent::new(id(), &event, &metadata).expect("an event can be stored").event_type;
        assert_eq!(gateway::Event::NOTICED.contains(&name.as_str()), event.is_noticed(), "{name}");
    }
}

#[test]
fn every_sample_ever_written_still_reads() {
    let mut read = 0;
    for folder in fs::read_dir(root().join(FOLDER)).expect("there are samples") {
        let folder = folder.expect("a folder").path();
        let version = folder.file_name().and_then(|name| name.to_str()?.strip_prefix('v')?.parse().ok());
        for file in fs::read_dir(&folder).expect("a folder of a version") {
            let path = file.expect("a sample").path();
            let event_type = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let event = Recorded {
                position: 1,
                event_id: id(),
                stream: StreamId::queue(),
                version: 1,
                event_type,
                schema_version: version.expect("a folder is named for its version"),
                organization: None,
                data: fs::read_to_string(&path).expect("a sample is a text"),
                metadata: String::new(),
                recorded_at: time(),
                hash: Hash::default(),
            };
            let reads = event.event::<gateway::Event>().is_ok()
                || event.event::<organization::Event>().is_ok()
                || event.event::<queue::Event>().is_ok()
                || event.event::<key::Event>().is_ok();
            assert!(reads, "{} does not read any more", path.display());
            read += 1;
        }
    }
    assert!(read >= written().len());
}
