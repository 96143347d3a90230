//! `organization create|list` and `member add|list|set-role|remove`.

use clap::{Subcommand, ValueEnum};
use shared::{
    clock::Clock,
    domain::organization::{Command, Member, Role},
    ids::{MemberId, OrganizationId},
    install::manage,
    store::Store,
};

use super::{OpsError, print};

/// What to do with organizations.
#[derive(Debug, Subcommand)]
pub enum OrganizationCommand {
    /// Found an organization and print its id.
    Create {
        /// What people call it.
        name: String,
    },
    /// Print every organization: id and name.
    List,
}

/// What to do with members.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Add a member and print its id.
    Add {
        /// To which organization.
        #[arg(long)]
        organization: OrganizationId,
        /// What people call it.
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value_t = RoleName::Member)]
        role: RoleName,
    },
    /// Print the members: id, role and name.
    List {
        /// Of which organization.
        #[arg(long)]
        organization: OrganizationId,
    },
    /// Change what a member may do.
    SetRole {
        /// In which organization.
        #[arg(long)]
        organization: OrganizationId,
        /// Who.
        member: MemberId,
        /// From now on.
        #[arg(value_enum)]
        role: RoleName,
    },
    /// Remove a member and revoke its tokens.
    Remove {
        /// From which organization.
        #[arg(long)]
        organization: OrganizationId,
        /// Who.
        member: MemberId,
    },
}

/// A role, as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleName {
    /// May read.
    Member,
    /// May change gateways.
    Admin,
    /// As admin; the last one stays.
    Owner,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Member => Self::Member,
            RoleName::Admin => Self::Admin,
            RoleName::Owner => Self::Owner,
        }
    }
}

/// Runs an organization command.
///
/// # Errors
///
/// [`OpsError`] with what to do.
pub async fn run(store: &dyn Store, clock: &dyn Clock, command: OrganizationCommand) -> Result<u8, OpsError> {
    match command {
        OrganizationCommand::Create { name } => {
            let id = OrganizationId::mint(clock.now());
            manage(store, clock, Some(id), vec![Command::Create { name }], None).await?;
            print(&id.to_string())?;
        }
        OrganizationCommand::List => {
            for row in store.organizations().await? {
                print(&format!("{}  {}", row.id, row.name))?;
            }
        }
    }
    Ok(0)
}

/// Runs a member command.
///
/// # Errors
///
/// [`OpsError`] with what to do.
pub async fn run_member(
    store: &dyn Store,
    clock: &dyn Clock,
    command: MemberCommand,
) -> Result<u8, OpsError> {
    match command {
        MemberCommand::Add { organization, name, role } => {
            let member = MemberId::mint(clock.now());
            let order = Command::AddMember(Member { member, name, role: role.into() });
            manage(store, clock, Some(organization), vec![order], None).await?;
            print(&member.to_string())?;
        }
        MemberCommand::List { organization } => {
            for row in store.members(organization).await? {
                print(&format!("{}  {:<6}  {}", row.id, row.role.as_str(), row.name))?;
            }
        }
        MemberCommand::SetRole { organization, member, role } => {
            let order = Command::SetRole { member, role: role.into() };
            manage(store, clock, Some(organization), vec![order], None).await?;
        }
        MemberCommand::Remove { organization, member } => {
            manage(store, clock, Some(organization), vec![Command::RemoveMember { member }], None).await?;
        }
    }
    Ok(0)
}
