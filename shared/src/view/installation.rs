//! Rows of what concerns organizations and the installation.

use chrono::{DateTime, Utc};

use super::Row;
use crate::{
    domain::{
        organization::{self, Organization},
        queue,
    },
    ids::{MemberId, OrganizationId},
};

/// The rows that follow from one event of an organization, or of the installation (`id` is `None`).
#[must_use]
pub fn organization_rows(
    id: Option<OrganizationId>,
    after: &Organization,
    event: &organization::Event,
    at: DateTime<Utc>,
) -> Vec<Row> {
    use organization::Event;
    let member_row = |member: MemberId| {
        let known = after.members.get(&member).map(|known| (known.name.clone(), known.role));
        id.map(|organization| Row::Member { id: member, organization, member: known })
    };
    let token_row =
        |token| Row::Token { id: token, organization: id, token: after.tokens.get(&token).cloned() };
    match event {
        Event::OrganizationCreated { name } => {
            id.map(|id| Row::Organization { id, name: name.clone(), created_at: at }).into_iter().collect()
        }
        Event::MemberAdded(organization::Member { member, .. })
        | Event::MemberRoleChanged { member, .. }
        | Event::MemberRemoved { member } => member_row(*member).into_iter().collect(),
        Event::TokenIssued(token) => vec![token_row(token.token)],
        Event::TokenRevoked { token } => vec![token_row(*token)],
    }
}

/// The rows that follow from one event of the queue.
#[must_use]
pub fn queue_rows(event: &queue::Event, at: DateTime<Utc>) -> Vec<Row> {
    match event {
        queue::Event::Paused { by, reason } => vec![Row::QueuePause(Some((at, by.clone(), reason.clone())))],
        queue::Event::Resumed { .. } => vec![Row::QueuePause(None)],
        queue::Event::WorkerDrained { worker, by, reason } => {
            let drain = Some((at, by.clone(), reason.clone()));
            vec![Row::WorkerDrain { worker: worker.clone(), drain }]
        }
        queue::Event::WorkerResumed { worker, .. } => {
            vec![Row::WorkerDrain { worker: worker.clone(), drain: None }]
        }
        queue::Event::JobRetried(_)
        | queue::Event::JobCancelled(_)
        | queue::Event::Reconciled { .. }
        | queue::Event::ReadModelsRebuilt { .. } => vec![],
    }
}
