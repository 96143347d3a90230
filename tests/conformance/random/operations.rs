//! What can be asked of an installation, chosen by numbers: the same numbers are the same choices.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    clock::Clock,
    domain::{
        gateway::{
            Command, Gateway, Known,
            change::{Changes, TokenChange, UpdateRequested, Updated},
            command::Leftover,
            event::{MainAgent, Verified},
            failure::{Cause, Failure, Stage},
            health::{Ailment, Health},
            patience::Patience,
            sync::{AgentFault, Options, SyncRequested, Synced},
        },
        organization::{self, Member, Role, Token},
    },
    envelope::Actor,
    execute::{Context, ExecuteError, execute, load},
    ids::{GatewayId, MemberId, OperationId, OrganizationId, TokenId},
    install::{ManageError, found, manage},
    register::{Desk, Registration, register},
    secret::Secret,
    steer::{self, SteerError},
    store::{CommitError, Store},
    token,
    vault::Vault,
};

/// Which subject, what to do with it, and how.
pub(super) type Operation = (u16, u16, u16);

const TEXTS: [&str; 6] =
    ["plain", "quotes \" ' and \\ {}", "Größe 🦀", "a\u{301}", "tab\tand\nline", "<script>&amp;"];

fn text(number: u16) -> String {
    format!("{} {number}", TEXTS[usize::from(number) % TEXTS.len()])
}

/// A clock of which each look is a millisecond later: no two events of a gateway have the same instant.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> DateTime<Utc> {
        crate::at(0) + TimeDelta::milliseconds(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// An installation and what is known of it.
pub(super) struct Installation<'s> {
    store: &'s dyn Store,
    clock: Ticking,
    vault: Vault,
    organizations: Mutex<Vec<OrganizationId>>,
    gateways: Mutex<Vec<GatewayId>>,
}

fn pick<T: Copy>(known: &Mutex<Vec<T>>, which: u16) -> Option<T> {
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.get(usize::from(which) % known.len().max(1)).copied()
}

fn add<T>(known: &Mutex<Vec<T>>, new: T) {
    known.lock().unwrap_or_else(PoisonError::into_inner).push(new);
}

impl<'s> Installation<'s> {
    pub(super) async fn found(store: &'s dyn Store) -> Self {
        let clock = Ticking(AtomicI64::new(0));
        assert!(found(store, &clock, &token::api()).await.unwrap());
        let organizations = store.organizations().await.unwrap().iter().map(|row| row.id).collect();
        Self {
            store,
            clock,
            vault: Vault::new(&[7; 32]),
            organizations: Mutex::new(organizations),
            gateways: Mutex::default(),
        }
    }

    /// Does it. What is refused is done as well; what fails otherwise is a bug.
    pub(super) async fn perform(&self, (which, what, how): Operation) {
        match what % 20 {
            0..=4 => self.register(which, how).await,
            5 => self.steer(which, how).await,
            6..=8 => self.manage(which, how).await,
            _ => self.command(which, what / 20, how).await,
        }
    }

    async fn register(&self, which: u16, how: u16) {
        let Some(organization) = pick(&self.organizations, which) else { return };
        let registration = Registration {
            name: text(how),
            url: format!("ws://gateway-{}.example:18789/{how}", how % 50).parse().unwrap(),
            workspace_root: format!("/ws/{how}"),
            token: (!how.is_multiple_of(3)).then(|| Secret::from("gateway-token")),
            allow_insecure_tls: how.is_multiple_of(4),
            disable_device_pairing: how.is_multiple_of(5),
            patience: patience(how),
        };
        let desk = Desk { store: self.store, clock: &self.clock, vault: &self.vault };
        let operation = OperationId::mint(self.clock.now());
        let registered = register(desk, organization, registration, (operation, None), &context(how)).await;
        add(&self.gateways, registered.unwrap().gateway);
    }

    async fn steer(&self, which: u16, how: u16) {
        let (store, clock, actor) = (self.store, &self.clock, &context(how).actor);
        let done = match how % 4 {
            0 => steer::pause(store, clock, actor, &text(how)).await.map(|_| ()),
            1 => steer::resume(store, clock, actor).await.map(|_| ()),
            change => {
                let jobs = store.jobs().await.unwrap();
                let Some(queued) = jobs.get(usize::from(which) % jobs.len().max(1)) else { return };
                match change {
                    2 => steer::retry(store, clock, actor, queued.job.id).await,
                    _ => steer::cancel(store, clock, actor, queued.job.id).await,
                }
            }
        };
        match done {
            Ok(())
            | Err(
                SteerError::NoJob(_)
                | SteerError::Owed { .. }
                | SteerError::Commit(CommitError::Conflict { .. }),
            ) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn manage(&self, which: u16, how: u16) {
        use organization::Command;
        let now = self.clock.now();
        let Some(organization) = pick(&self.organizations, which) else { return };
        let (state, _) = shared::install::load(self.store, Some(organization)).await.unwrap();
        let nth = |count: usize| usize::from(how / 8) % count.max(1);
        let member = state.members.keys().nth(nth(state.members.len())).copied();
        let member = member.unwrap_or_else(|| MemberId::mint(now));
        let role = [Role::Member, Role::Admin, Role::Owner][usize::from(how) % 3];
        let issued = Token {
            token: TokenId::mint(now),
            member: (how % 16 != 5).then_some(member),
            role: how.is_multiple_of(2).then_some(role),
            operator: how % 16 == 5,
            expires_at: how.is_multiple_of(3).then(|| now + TimeDelta::days(1)),
        };
        let owner = issued.member.map(|_| organization);
        let (owner, order) = match how % 8 {
            0 if which.is_multiple_of(4) => {
                let new = OrganizationId::mint(now);
                add(&self.organizations, new);
                (Some(new), Command::Create { name: text(how) })
            }
            0..=2 => {
                let added = Member { member: MemberId::mint(now), name: text(how), role };
                (Some(organization), Command::AddMember(added))
            }
            3 => (Some(organization), Command::SetRole { member, role }),
            4 => (Some(organization), Command::RemoveMember { member }),
            5 | 6 => (owner, Command::IssueToken(issued)),
            _ => {
                let token = state.tokens.keys().nth(nth(state.tokens.len())).copied();
                (Some(organization), Command::RevokeToken { token: token.unwrap_or(issued.token) })
            }
        };
        match manage(self.store, &self.clock, owner, vec![order], Some(&token::api())).await {
            Ok(()) | Err(ManageError::Refused(_) | ManageError::Commit(CommitError::Conflict { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// One of the commands that a gateway follows in its state; now and then whichever.
    async fn command(&self, which: u16, what: u16, how: u16) {
        let Some(gateway) = pick(&self.gateways, which) else { return };
        let state = load(self.store, gateway).await.unwrap();
        let Gateway::Known(known) = &state else { panic!("{gateway} was registered") };
        let mut commands = commands(known, how, self.clock.now());
        let first = usize::from(what) % commands.len();
        commands.rotate_left(first);
        let follows =
            |command: &Command| state.decide(command.clone()).is_ok_and(|events| !events.is_empty());
        let chosen = commands.iter().position(follows).filter(|_| !how.is_multiple_of(8)).unwrap_or(0);
        let command = commands.swap_remove(chosen);
        match execute(self.store, &self.clock, (gateway, command), &context(how), |_| {}).await {
            Ok(_) | Err(ExecuteError::Refused(_) | ExecuteError::Commit(CommitError::Conflict { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn context(how: u16) -> Context {
    let is_worker = how.is_multiple_of(2);
    Context {
        actor: if is_worker { Actor::worker("w-1") } else { Actor::command_line() },
        request_id: how.is_multiple_of(3).then(|| text(how)),
        traceparent: (how.is_multiple_of(5))
            .then(|| "00-00000000000000000000000000000001-0000000000000001-01".to_owned()),
        worker_id: is_worker.then(|| "w-1".to_owned()),
        attempt: is_worker.then_some(1),
        causation_id: None,
        only_for: None,
    }
}

fn patience(how: u16) -> Patience {
    if how.is_multiple_of(2) { Patience::Waiting } else { Patience::Background }
}

fn failure(how: u16) -> Failure {
    let (stage, cause) = [
        (Stage::Tcp, Cause::ConnectionRefused),
        (Stage::Handshake, Cause::PairingRequired),
        (Stage::Version, Cause::VersionTooLow),
        (Stage::Files, Cause::CallRefused),
    ][usize::from(how) % 4];
    let mut failure = Failure::new(stage, cause, text(how));
    if cause == Cause::VersionTooLow {
        failure.runtime_version = Some("2026.1.1".to_owned());
        failure.minimum_version = Some("2026.2.9".to_owned());
    }
    failure.device_id = (cause == Cause::PairingRequired).then(|| "device".to_owned());
    failure
}

fn verified(how: u16) -> Verified {
    Verified {
        runtime_version: format!("2026.9.{how}"),
        protocol: 4,
        scopes: vec!["operator.admin".to_owned()],
        latency_ms: how.into(),
    }
}

fn agent(known: &Known, how: u16) -> MainAgent {
    MainAgent {
        agent_id: known.request.gateway_agent_id.on_gateway(),
        workspace: format!("/ws/{how}"),
        files_written: vec!["AGENTS.md".to_owned()],
        files_moved: vec![],
        files_not_taken: vec![text(how)],
        config_form: "entries".to_owned(),
        wake: "started".to_owned(),
    }
}

fn changes(how: u16) -> Changes {
    let is = |bit: u16| (how >> bit) & 1 == 1;
    Changes {
        name: is(0).then(|| text(how)),
        url: is(1).then(|| format!("ws://gateway-{}.example:1/", how % 50).parse().unwrap()),
        workspace_root: is(2).then(|| format!("/other/{how}")),
        token: is(3).then_some(if is(4) { TokenChange::Set } else { TokenChange::Cleared }),
        allow_insecure_tls: is(5).then_some(is(6)),
        disable_device_pairing: is(7).then_some(is(8)),
    }
}

/// Every command that there is, for this gateway.
fn commands(known: &Known, how: u16, at: DateTime<Utc>) -> Vec<Command> {
    let mut commands = of_registrations(known, how, at);
    commands.extend(of_changes(known, how, at));
    commands.extend(of_deletions(known, how, at));
    commands.extend(of_what_is_noticed(how, at));
    commands
}

fn of_registrations(known: &Known, how: u16, at: DateTime<Utc>) -> Vec<Command> {
    let (operation, patience, by) = (OperationId::mint(at), patience(how), text(how));
    let (agent_id, why, failure) = (agent(known, how).agent_id, text(how), failure(how));
    let agent_may_remain = how.is_multiple_of(2);
    let leftover = match how % 4 {
        0 => Leftover::Nothing,
        1 => Leftover::Removed { agent_id: agent_id.clone() },
        2 => Leftover::MayRemain,
        _ => Leftover::LeftBehind { agent_id: agent_id.clone(), why: why.clone() },
    };
    vec![
        Command::RecordCreated { verified: verified(how), agent: agent(known, how) },
        Command::RecordAttemptFailed {
            attempt: known.operation.attempts + 1,
            failure: failure.clone(),
            retry_at: at + TimeDelta::seconds(1),
            agent_may_remain,
        },
        Command::RecordPairingRequired {
            device_id: "device".to_owned(),
            request_id: agent_may_remain.then(|| format!("request-{how}")),
            approve: why.clone(),
            until: at + TimeDelta::minutes(15),
            agent_may_remain,
        },
        Command::RecordFailed { failure, attempts: u32::from(how % 5), leftover },
        Command::RecordAgentRemoved { agent_id: agent_id.clone(), why: why.clone() },
        Command::RecordAgentLeftBehind { agent_id, why: why.clone() },
        Command::Retry { operation, patience, by: by.clone() },
        Command::RecordTokenErased { why: why.clone() },
        Command::Cancel { operation: known.operation.id, by, reason: why },
    ]
}

fn of_changes(known: &Known, how: u16, at: DateTime<Utc>) -> Vec<Command> {
    let (operation, patience, by) = (OperationId::mint(at), patience(how), text(how));
    let (agent_id, failure) = (agent(known, how).agent_id, failure(how));
    let attempts = u32::from(how % 5);
    let update = UpdateRequested { operation, patience, by: by.clone(), changes: changes(how) };
    let updated = Updated {
        changes: known.changes.clone().unwrap_or_default(),
        verified: (!how.is_multiple_of(3)).then(|| verified(how)),
        agent: (how % 3 > 1).then(|| agent(known, how)),
        leaves: how.is_multiple_of(4).then(|| agent_id.clone()),
    };
    let options = Options {
        include_main: how.is_multiple_of(2),
        reset_sessions: how.is_multiple_of(3),
        ..Options::default()
    };
    let fault = AgentFault { agent_id: agent_id.clone(), agent_name: by.clone(), message: text(how) };
    let synced = Synced {
        verified: Some(verified(how)),
        agent: (!how.is_multiple_of(3)).then(|| agent(known, how)),
        errors: vec![fault],
    };
    vec![
        Command::RecordUpdated(Box::new(updated)),
        Command::RecordUpdateFailed {
            failure: failure.clone(),
            attempts,
            left_behind: how.is_multiple_of(2).then_some(agent_id),
        },
        Command::RecordAgentRefreshed(agent(known, how)),
        Command::RecordSynced(Box::new(synced)),
        Command::RecordSyncFailed { failure, attempts },
        Command::RequestUpdate { update: Box::new(update), only_at: None },
        Command::RequestSync(SyncRequested { operation, patience, by, options }),
    ]
}

fn of_deletions(known: &Known, how: u16, at: DateTime<Utc>) -> Vec<Command> {
    let agent_id = agent(known, how).agent_id;
    let force = how.is_multiple_of(2);
    vec![
        Command::RequestDeletion {
            operation: OperationId::mint(at),
            patience: patience(how),
            force,
            by: text(how),
        },
        Command::RecordDeletionFailed { failure: failure(how), attempts: u32::from(how % 5) },
        Command::RecordDeleted {
            removed: vec![agent_id.clone()],
            left: vec![agent_id],
            why: force.then(|| text(how)),
        },
    ]
}

/// What the monitor and the agents cause.
fn of_what_is_noticed(how: u16, at: DateTime<Utc>) -> Vec<Command> {
    let health = [Health::Offline, Health::Degraded][usize::from(how) % 2];
    let ailment = Box::new(Ailment { failure: failure(how), misses: u32::from(how % 9) });
    vec![
        Command::RecordReached(verified(how)),
        Command::RecordNotUsable { health, ailment },
        Command::RecordCheckedIn { at },
        Command::RecordMissedCheckIn { waited_ms: how.into() },
        Command::RecordAgentOffline { wakes: u32::from(how % 4), why: text(how) },
    ]
}
