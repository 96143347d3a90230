//! `operations list|show`.

use clap::Subcommand;
use serde_json::Value;
use shared::{
    ids::{OperationId, OrganizationId},
    store::{Store, StoredOperation},
};

use super::{OpsError, output::Output};

/// Operations per read.
const PAGE: u32 = 100;

const EXAMPLES: &str = "Examples:
  mission-control operations list --status failed
  mission-control operations show 0199d0a2-… --json

Exit codes: 0 done, 1 no such operation, 2 cannot tell.";

/// What to do with operations.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum OperationsCommand {
    /// Print operations, each organization's newest first.
    #[command(after_help = EXAMPLES)]
    List {
        /// Only this organization's.
        #[arg(long)]
        organization: Option<OrganizationId>,
        /// Only of this status.
        #[arg(long, value_parser = ["pending", "running", "awaiting_pairing", "succeeded", "failed", "cancelled"])]
        status: Option<String>,
        /// Most operations to print of an organization.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Print one operation with its result or error.
    #[command(after_help = EXAMPLES)]
    Show {
        /// Which.
        operation: OperationId,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
///
/// # Errors
///
/// [`OpsError`] if the store fails.
pub async fn run(store: &dyn Store, command: &OperationsCommand) -> Result<u8, OpsError> {
    match command {
        OperationsCommand::List { organization, status, limit, json } => {
            let owners = match organization {
                Some(organization) => vec![*organization],
                None => store.organizations().await?.into_iter().map(|row| row.id).collect(),
            };
            for owner in owners {
                list(store, (owner, status.as_deref()), *limit, Output::of(*json)).await?;
            }
        }
        OperationsCommand::Show { operation, json } => {
            let Some(stored) = store.operation(*operation).await? else { return Ok(1) };
            let value: Value = serde_json::from_str(&stored.document)?;
            Output::of(*json).row(&value, &format!("{value:#}"))?;
        }
    }
    Ok(0)
}

async fn list(
    store: &dyn Store,
    (owner, status): (OrganizationId, Option<&str>),
    mut left: u32,
    output: Output,
) -> Result<(), OpsError> {
    let mut before = None;
    while left > 0 {
        let page = store.operations_page(owner, status, before, left.min(PAGE)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        before = Some((last.created_at, last.id));
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(left));
        for stored in &page {
            show(stored, output)?;
        }
    }
    Ok(())
}

fn show(stored: &StoredOperation, output: Output) -> Result<(), OpsError> {
    let value: Value = serde_json::from_str(&stored.document)?;
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let text = format!(
        "{}  {:<14}  {:<16}  gateway {}  {}",
        stored.id,
        field("kind"),
        stored.status,
        field("gateway_id"),
        field("created_at")
    );
    Ok(output.row(&value, &text)?)
}
