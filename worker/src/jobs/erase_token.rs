//! Erases the sealed tokens of a failed registration, a day after it failed.

use shared::{
    commit::{Commit, SecretChange, Then},
    domain::gateway::Command,
    job::Lease,
    register::{agent_token_owner, gateway_token_owner},
};

use super::outcome::{Outcome, record};
use crate::config::Deps;

/// One delivery.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    let command = Command::RecordTokenErased { why: "the registration failed 24 hours ago".to_owned() };
    let gateway = lease.job.gateway;
    let complete = |commit: &mut Commit| {
        for owner in [gateway_token_owner(gateway), agent_token_owner(gateway)] {
            commit.secrets.push(SecretChange::Erase { owner });
        }
    };
    record(deps, lease, Outcome { command, then: Then::Delete, complete }).await;
}
