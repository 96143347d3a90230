//! `/api/v1/operations`: one endpoint, one file.

pub mod cancel;
pub mod get;
pub mod list;

use shared::{ids::OperationId, view::OperationRead};

use crate::{
    auth::Member,
    problem::{Failure, codes},
    state::App,
    wait::shown,
};

/// An operation of the organization.
///
/// # Errors
///
/// 404.
pub async fn find(app: &App, member: &Member, id: OperationId) -> Result<OperationRead, Failure> {
    let stored = app.store.operation(id).await?.filter(|stored| stored.organization == member.organization);
    shown(&stored.ok_or_else(not_found)?)
}

/// 404, the same whether it is another organization's or nobody's.
#[must_use]
pub fn not_found() -> Failure {
    Failure::new(&codes::NOT_FOUND, "There is no such operation in this organization.")
}
