//! Erases the sealed tokens of a failed registration, a day after it failed.

use shared::{
    chain::chain,
    commit::{Commit, SecretChange, Then},
    domain::gateway::{Command, Gateway},
    job::Lease,
    register::secret_owners,
};

use super::{
    outcome::{Outcome, end, record},
    read,
};
use crate::{config::Deps, retry::CLEAN_UP_LONGEST};

/// One delivery.
pub(super) async fn run(deps: &Deps, lease: &Lease) {
    match read::gateway(deps, lease).await {
        // Failed again since: the job of that failure erases it, a day after.
        Ok(Gateway::Known(known)) if known.operation.id != lease.job.operation => {
            return end(deps, lease, Then::Delete).await;
        }
        Ok(_) => {}
        Err(error) => {
            tracing::error!(error = chain(&error), "the gateway's stream could not be read; trying again");
            let at = deps.clock.now() + CLEAN_UP_LONGEST;
            return end(deps, lease, Then::RunAt { at, attempt: lease.job.attempt }).await;
        }
    }
    let command = Command::RecordTokenErased { why: "the registration failed 24 hours ago".to_owned() };
    let gateway = lease.job.gateway;
    let complete = |commit: &mut Commit| {
        for owner in secret_owners(gateway) {
            commit.secrets.push(SecretChange::Erase { owner });
        }
    };
    record(deps, lease, Outcome { command, then: Then::Delete, complete }).await;
}
