//! `token create|list|revoke`.

use chrono::TimeDelta;
use clap::{ArgGroup, Subcommand};
use shared::{
    clock::{Clock, rfc3339},
    domain::organization::{Command, Refusal, Token},
    ids::{MemberId, OrganizationId, TokenId},
    install::{ManageError, manage},
    store::Store,
    token,
};

use super::{OpsError, organization::RoleName, print};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once: only its hash is kept.
    #[command(group = ArgGroup::new("whose").required(true).multiple(true).args(["member", "operator"]))]
    Create {
        /// The member's organization.
        #[arg(long, requires = "member")]
        organization: Option<OrganizationId>,
        /// Whose token it is.
        #[arg(long, requires = "organization")]
        member: Option<MemberId>,
        /// The token speaks for the operator of the installation.
        #[arg(long)]
        operator: bool,
        /// Caps the member's role.
        #[arg(long, value_enum, requires = "member")]
        role: Option<RoleName>,
        /// When it ends by itself, for example 30d.
        #[arg(long, value_parser = humantime::parse_duration)]
        expires: Option<std::time::Duration>,
    },
    /// Print tokens without their secret part.
    List {
        /// Of which organization; the operator's own without it.
        #[arg(long)]
        organization: Option<OrganizationId>,
    },
    /// End a token at once.
    Revoke {
        /// Which.
        token: TokenId,
    },
}

/// Runs it.
///
/// # Errors
///
/// [`OpsError`] with what to do.
pub async fn run(store: &dyn Store, clock: &dyn Clock, command: TokenCommand) -> Result<u8, OpsError> {
    match command {
        TokenCommand::Create { organization, member, operator, role, expires } => {
            let now = clock.now();
            let secret = token::api();
            let expires_at = expires
                .map(|after| TimeDelta::from_std(after).map(|after| now + after))
                .transpose()
                .map_err(|_| OpsError::Setting("--expires is too far away".to_owned()))?;
            let id = TokenId::mint(now);
            let token = Token { token: id, member, role: role.map(Into::into), operator, expires_at };
            manage(store, clock, organization, vec![Command::IssueToken(token)], Some(&secret)).await?;
            print(secret.expose())?;
        }
        TokenCommand::List { organization } => {
            for token in store.tokens(organization).await? {
                let member = token.member.map_or_else(|| "-".to_owned(), |member| member.to_string());
                let role = token.role.map_or("-", |role| role.as_str());
                let operator = if token.operator { "operator" } else { "-" };
                let expires = token.expires_at.map_or_else(|| "never".to_owned(), rfc3339);
                print(&format!("{}  {member}  {role}  {operator}  {expires}", token.token))?;
            }
        }
        TokenCommand::Revoke { token } => {
            let owner = store.token_owner(token).await?;
            let owner = owner.ok_or(OpsError::Manage(ManageError::Refused(Refusal::NoToken(token))))?;
            manage(store, clock, owner, vec![Command::RevokeToken { token }], None).await?;
        }
    }
    Ok(0)
}
