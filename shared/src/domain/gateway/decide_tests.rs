use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::*;
use crate::{
    domain::gateway::{
        change::{Changes, TokenChange, UpdateFailed, UpdateRequested, Updated},
        event::{MainAgent, Requested, Verified},
        failure::{Cause, Stage},
        health::{Ailment, Health},
        patience::Patience,
        state::Occurrence,
        sync::{Options, SyncFailed, SyncRequested, Synced},
    },
    ids::{AgentId, GatewayId, OperationId, OrganizationId},
};

fn requested(name: &str) -> Box<Requested> {
    let at = DateTime::UNIX_EPOCH;
    let id = uuid::Uuid::from_u128(7);
    Box::new(Requested {
        gateway: GatewayId::from(id),
        organization_id: OrganizationId::from(id),
        name: name.to_owned(),
        url: "ws://127.0.0.1:1".parse().unwrap(),
        workspace_root: "/w".to_owned(),
        allow_insecure_tls: false,
        disable_device_pairing: false,
        gateway_agent_id: "agent-01JCXYZ1230000000000000000"
            .parse::<AgentId>()
            .unwrap_or_else(|_| AgentId::mint(at)),
        has_token: true,
        patience: Patience::Waiting,
        requested_by: "ada".to_owned(),
        operation: OperationId::from(id),
    })
}

fn verified() -> Verified {
    Verified { runtime_version: "2026.9.6".to_owned(), protocol: 4, scopes: vec![], latency_ms: 3 }
}

fn agent() -> MainAgent {
    MainAgent {
        agent_id: "agent-x".to_owned(),
        workspace: "/w/agent-x".to_owned(),
        files_written: vec![],
        files_moved: vec![],
        files_not_taken: vec![],
        config_form: "entries".to_owned(),
        wake: "started".to_owned(),
    }
}

fn failure() -> Failure {
    Failure::new(Stage::Tcp, Cause::ConnectionRefused, "refused")
}

fn pairing() -> Event {
    Event::PairingRequired {
        device_id: "d".to_owned(),
        request_id: None,
        approve: "a".to_owned(),
        until: at(),
        agent_may_remain: false,
    }
}

fn failed() -> Event {
    let code = failure().cause.code();
    Event::CreationFailed { failure: failure(), code, attempts: 1, agent_may_remain: true }
}

fn removed() -> Event {
    Event::MainAgentRemoved { agent_id: "agent-x".to_owned(), why: "w".to_owned() }
}

fn at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn given(history: &[Event]) -> Gateway {
    let mut version = 0;
    history.iter().fold(Gateway::default(), |gateway, event| {
        version += 1;
        gateway.evolve(event, &Occurrence { at: at(), version, request_id: None })
    })
}

fn changes() -> Changes {
    Changes {
        name: Some("b".to_owned()),
        url: Some("ws://127.0.0.1:2".parse().unwrap()),
        token: Some(TokenChange::Cleared),
        ..Changes::default()
    }
}

fn update(number: u128) -> Box<UpdateRequested> {
    let operation = OperationId::from(uuid::Uuid::from_u128(number));
    Box::new(UpdateRequested {
        operation,
        patience: Patience::Waiting,
        by: "ada".to_owned(),
        changes: changes(),
    })
}

fn updated() -> Box<Updated> {
    Box::new(Updated {
        changes: changes(),
        verified: Some(verified()),
        agent: Some(agent()),
        leaves: Some("agent-x".to_owned()),
    })
}

fn renamed() -> Box<Updated> {
    let changes = Changes { name: Some("c".to_owned()), ..Changes::default() };
    Box::new(Updated { changes, verified: None, agent: None, leaves: None })
}

fn sync(number: u128) -> SyncRequested {
    let operation = OperationId::from(uuid::Uuid::from_u128(number));
    let options = Options { include_main: true, ..Options::default() };
    SyncRequested { operation, patience: Patience::Waiting, by: "ada".to_owned(), options }
}

fn synced() -> Box<Synced> {
    Box::new(Synced { verified: Some(verified()), agent: Some(agent()), errors: vec![] })
}

fn ailment() -> Box<Ailment> {
    Box::new(Ailment { failure: failure(), misses: 3 })
}

fn other_version() -> Verified {
    Verified { runtime_version: "2026.10.1".to_owned(), ..verified() }
}

fn histories() -> Vec<(&'static str, Vec<Event>)> {
    let start = Event::Requested(requested("a"));
    let attempt =
        Event::AttemptFailed { attempt: 1, failure: failure(), retry_at: at(), agent_may_remain: true };
    let created =
        [start.clone(), Event::Verified(verified()), Event::MainAgentProvisioned(agent()), Event::Created {}];
    let operation = OperationId::from(uuid::Uuid::from_u128(8));
    let by = || "ada".to_owned();
    let cancelled = Event::CreationCancelled {
        operation: OperationId::from(uuid::Uuid::from_u128(7)),
        by: by(),
        reason: "r".to_owned(),
    };
    let retried = Event::CreationRetried { operation, patience: Patience::Background, by: by() };
    let deleting =
        Event::DeletionRequested { operation, patience: Patience::Background, force: false, by: by() };
    let deleted = Event::Deleted { removed: vec![], left: vec![], why: None };
    let not_deleted = Event::DeletionFailed { failure: failure(), code: failure().cause.code(), attempts: 1 };
    let updating = Event::UpdateRequested(update(8));
    let not_updated = Event::UpdateFailed(Box::new(UpdateFailed {
        failure: failure(),
        code: failure().cause.code(),
        attempts: 1,
        left_behind: None,
    }));
    let not_synced = Event::SyncFailed(Box::new(SyncFailed {
        failure: failure(),
        code: failure().cause.code(),
        attempts: 1,
    }));
    let then = |events: &[Event]| created.iter().chain(events).cloned().collect::<Vec<_>>();
    let erased = Event::SecretErased { which: "gateway token".to_owned(), why: "w".to_owned() };
    vec![
        ("unknown", vec![]),
        ("requested", vec![start.clone()]),
        ("attempt failed", vec![start.clone(), attempt]),
        ("awaiting pairing", vec![start.clone(), pairing()]),
        ("verified", created[..2].to_vec()),
        ("provisioned", created[..3].to_vec()),
        ("active", created.to_vec()),
        ("failed", vec![start.clone(), failed()]),
        ("failed, cleaned", vec![start.clone(), failed(), removed()]),
        ("failed, erased", vec![start.clone(), failed(), erased]),
        ("cancelled", vec![start.clone(), cancelled]),
        ("retried", vec![start, failed(), retried]),
        ("updating", then(std::slice::from_ref(&updating))),
        ("moved", then(&[updating.clone(), Event::Updated(updated())])),
        ("moved, cleaned", then(&[updating.clone(), Event::Updated(updated()), removed()])),
        ("moved, deleting", then(&[updating.clone(), Event::Updated(updated()), deleting.clone()])),
        ("renamed", then(&[updating.clone(), Event::Updated(renamed())])),
        ("not updated", then(&[updating, not_updated])),
        ("offline", then(&[Event::WentOffline(ailment())])),
        ("degraded", then(&[Event::Degraded(ailment())])),
        ("online again", then(&[Event::WentOffline(ailment()), Event::CameOnline { latency_ms: 3 }])),
        ("agent called", then(&[Event::MainAgentCheckedIn { at: at() }])),
        ("agent missed", then(&[Event::MainAgentMissedCheckIn { waited_ms: 1 }])),
        ("agent offline", then(&[Event::MainAgentWentOffline { wakes: 3, why: "w".to_owned() }])),
        (
            "other version",
            then(&[Event::VersionChanged { from: "2026.9.6".to_owned(), verified: other_version() }]),
        ),
        ("syncing", then(&[Event::SyncRequested(sync(8))])),
        ("synced", then(&[Event::SyncRequested(sync(8)), Event::Synced(synced())])),
        ("not synced", then(&[Event::SyncRequested(sync(8)), not_synced])),
        ("deleting", then(std::slice::from_ref(&deleting))),
        ("deleted", then(&[deleting.clone(), deleted])),
        ("not deleted", then(&[deleting, not_deleted])),
    ]
}

fn commands() -> Vec<(&'static str, Command)> {
    let failed = |leftover| Command::RecordFailed { failure: failure(), attempts: 2, leftover };
    let (agent_id, why) = ("agent-x".to_owned(), "w".to_owned());
    let [first, second, operation] = [7, 8, 9].map(|number| OperationId::from(uuid::Uuid::from_u128(number)));
    let by = || "ada".to_owned();
    vec![
        ("request", Command::Request(requested("a"))),
        ("request another", Command::Request(requested("b"))),
        (
            "attempt 1 failed",
            Command::RecordAttemptFailed {
                attempt: 1,
                failure: failure(),
                retry_at: at(),
                agent_may_remain: false,
            },
        ),
        (
            "pairing",
            Command::RecordPairingRequired {
                device_id: "d".to_owned(),
                request_id: None,
                approve: "a".to_owned(),
                until: at(),
                agent_may_remain: false,
            },
        ),
        ("created", Command::RecordCreated { verified: verified(), agent: agent() }),
        ("failed, nothing left", failed(Leftover::Nothing)),
        ("failed, removed", failed(Leftover::Removed { agent_id: agent_id.clone() })),
        ("failed, may remain", failed(Leftover::MayRemain)),
        (
            "failed, left behind",
            failed(Leftover::LeftBehind { agent_id: agent_id.clone(), why: why.clone() }),
        ),
        ("agent removed", Command::RecordAgentRemoved { agent_id: agent_id.clone(), why: why.clone() }),
        ("agent left behind", Command::RecordAgentLeftBehind { agent_id, why: why.clone() }),
        ("token erased", Command::RecordTokenErased { why }),
        ("retry", Command::Retry { operation, patience: Patience::Waiting, by: by() }),
        ("cancel", Command::Cancel { operation: first, by: by(), reason: "r".to_owned() }),
        ("cancel the second", Command::Cancel { operation: second, by: by(), reason: "r".to_owned() }),
        ("update", Command::RequestUpdate { update: update(9), only_at: None }),
        ("update another", Command::RequestUpdate { update: update(10), only_at: Some(1) }),
        ("updated", Command::RecordUpdated(updated())),
        ("not updated", Command::RecordUpdateFailed { failure: failure(), attempts: 1, left_behind: None }),
        ("sync", Command::RequestSync(sync(9))),
        ("synced", Command::RecordSynced(synced())),
        ("not synced", Command::RecordSyncFailed { failure: failure(), attempts: 1 }),
        ("agent refreshed", Command::RecordAgentRefreshed(agent())),
        (
            "delete",
            Command::RequestDeletion { operation, patience: Patience::Waiting, force: false, by: by() },
        ),
        ("deleted", Command::RecordDeleted { removed: vec![], left: vec![], why: None }),
        ("reached", Command::RecordReached(verified())),
        ("reached, upgraded", Command::RecordReached(other_version())),
        ("away", Command::RecordNotUsable { health: Health::Offline, ailment: ailment() }),
        ("not usable", Command::RecordNotUsable { health: Health::Degraded, ailment: ailment() }),
        ("agent called", Command::RecordCheckedIn { at: at() }),
        ("agent missed", Command::RecordMissedCheckIn { waited_ms: 1 }),
        ("agent offline", Command::RecordAgentOffline { wakes: 3, why: "w".to_owned() }),
        ("not deleted", Command::RecordDeletionFailed { failure: failure(), attempts: 1 }),
    ]
}

fn name(event: &Event) -> String {
    serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned()
}

#[test]
fn every_state_answers_every_command() {
    let mut table = String::new();
    for (state, history) in histories() {
        for (label, command) in commands() {
            let outcome = match given(&history).decide(command) {
                Ok(events) if events.is_empty() => "already so".to_owned(),
                Ok(events) => events.iter().map(name).collect::<Vec<_>>().join(" + "),
                Err(refusal) => format!("refused: {refusal}"),
            };
            writeln!(table, "{state:<17}| {label:<21}| {outcome}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn every_decision_can_be_repeated_without_effect() {
    for (state, history) in histories() {
        for (label, command) in commands() {
            let Ok(events) = given(&history).decide(command.clone()) else { continue };
            let after: Vec<Event> = history.iter().cloned().chain(events).collect();
            assert_eq!(given(&after).decide(command), Ok(vec![]), "{state}: {label} twice");
        }
    }
}

#[test]
fn stored_names_are_pinned() {
    insta::assert_snapshot!(Event::NAMES.join("\n"));
    for (_, history) in histories() {
        for event in history {
            assert!(Event::NAMES.contains(&name(&event).as_str()), "{event:?}");
        }
    }
}

#[test]
fn a_stored_event_reads_back_as_it_was() {
    for (_, history) in histories() {
        for event in history {
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event, "{json}");
        }
    }
}

#[test]
fn time_without_a_worker_counts_as_one_attempt_at_most() {
    let second = |seconds| at() + chrono::TimeDelta::seconds(seconds);
    let failed = |attempt, retry_at| Event::AttemptFailed {
        attempt,
        failure: failure(),
        retry_at: second(retry_at),
        agent_may_remain: false,
    };
    let history = [
        (Event::Requested(requested("a")), 0),
        // 10 s of an attempt, then a pause of 5 s.
        (failed(1, 15), 10),
        // Nobody worked for most of an hour, then another pause of 5 s.
        (failed(2, 3_605), 3_600),
    ];
    let mut gateway = Gateway::default();
    for (event, seconds) in &history {
        gateway = gateway.evolve(event, &Occurrence { at: second(*seconds), version: 1, request_id: None });
    }
    let Gateway::Known(known) = gateway else { panic!("it was requested") };
    assert_eq!(known.operation.tried_for(second(3_605)).num_seconds(), 15 + 62 + 5);
    assert_eq!(known.operation.tried_for(second(3_606)).num_seconds(), 15 + 62 + 5 + 1);
    assert_eq!(known.operation.tried_for(second(9_000)).num_seconds(), 15 + 62 + 5 + 62);
}

#[test]
fn a_failure_says_whether_the_agent_may_be_on_the_gateway() {
    let may_exist =
        |history: &[Event]| matches!(given(history), Gateway::Known(known) if known.agent_may_exist);
    let start = Event::Requested(requested("a"));
    let attempt = |agent_may_remain| Event::AttemptFailed {
        attempt: 1,
        failure: failure(),
        retry_at: at(),
        agent_may_remain,
    };
    assert!(!may_exist(&[start.clone(), attempt(false)]));
    assert!(may_exist(&[start.clone(), attempt(true)]));
    assert!(!may_exist(&[start.clone(), attempt(true), attempt(false)]));
    assert!(may_exist(&[start.clone(), failed()]));
    assert!(!may_exist(&[start, failed(), removed()]));
}
