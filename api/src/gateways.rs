//! `/api/v1/gateways`: one endpoint, one file.

pub mod create;
pub mod events;
pub mod fields;
pub mod get;
pub mod list;
pub mod remove;
pub mod retry;
pub mod schemas;
pub mod status;
pub mod sync_templates;
pub mod update;

use shared::ids::GatewayId;

use crate::problem::{Failure, codes};

/// The gateway of a path; what is no id names nothing.
///
/// # Errors
///
/// 404.
pub fn id(text: &str) -> Result<GatewayId, Failure> {
    text.parse().map_err(|_| not_found(text))
}

/// 404, the same whether it is another organization's or nobody's.
#[must_use]
pub fn not_found(id: &str) -> Failure {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(60).collect();
    let detail = format!(
        "There is no gateway {shown} in this organization. While its registration runs, and after it failed, its \
         operation shows it."
    );
    Failure::new(&codes::NOT_FOUND, detail)
}
