//! Organizations, their members and the API tokens; small enough for one file.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{MemberId, TokenId};

/// What a member, or a token, may do in its organization; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May read.
    Member,
    /// May change gateways.
    Admin,
    /// As admin; cannot be locked out by removing the last one.
    Owner,
}

impl Role {
    /// `member`, `admin` or `owner`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub member: MemberId,
    /// What people call it; shown as the actor of its events.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// An API token without its secret part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub token: TokenId,
    /// Whose it is; `None` for a token of the operator alone.
    pub member: Option<MemberId>,
    /// Caps the member's role; `None` leaves it.
    pub role: Option<Role>,
    /// Whether it also speaks for the operator of the installation.
    pub operator: bool,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What happened; the names are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// The organization was founded.
    OrganizationCreated {
        /// What people call it.
        name: String,
    },
    /// Somebody joined.
    MemberAdded(Member),
    /// What a member may do changed.
    MemberRoleChanged {
        /// Who.
        member: MemberId,
        /// From now on.
        role: Role,
    },
    /// A member left; its tokens end with it.
    MemberRemoved {
        /// Who.
        member: MemberId,
    },
    /// An API token was made.
    TokenIssued(Token),
    /// An API token was ended.
    TokenRevoked {
        /// Which.
        token: TokenId,
    },
}

impl Event {
    /// Every stored name, in the order of the variants.
    pub const NAMES: [&'static str; 6] = [
        "OrganizationCreated",
        "MemberAdded",
        "MemberRoleChanged",
        "MemberRemoved",
        "TokenIssued",
        "TokenRevoked",
    ];
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Found it.
    Create {
        /// What people call it; 1 to 200 characters.
        name: String,
    },
    /// Add a member.
    AddMember(Member),
    /// Change what a member may do.
    SetRole {
        /// Who.
        member: MemberId,
        /// From now on.
        role: Role,
    },
    /// Remove a member and its tokens.
    RemoveMember {
        /// Who.
        member: MemberId,
    },
    /// Make a token.
    IssueToken(Token),
    /// End a token.
    RevokeToken {
        /// Which.
        token: TokenId,
    },
}

/// The domain said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such organization.
    #[error("there is no such organization; `mission-control organization list` shows them")]
    Unknown,
    /// It exists already.
    #[error("the organization exists already")]
    Exists,
    /// No such member.
    #[error("there is no member {0}; `mission-control member list` shows them")]
    NoMember(MemberId),
    /// Nobody could manage the organization any more.
    #[error("{0} is the last owner; make another member an owner first")]
    LastOwner(MemberId),
    /// No such token.
    #[error("there is no token {0}; `mission-control token list` shows them")]
    NoToken(TokenId),
    /// A name that is empty, too long or has control characters.
    #[error("a name must have 1 to 200 characters and no control characters")]
    InvalidName,
}

/// An organization, or the installation itself, which holds only the operator's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Organization {
    /// `None` until it was founded.
    pub name: Option<String>,
    /// By id.
    pub members: BTreeMap<MemberId, Member>,
    /// By id; revoked ones are gone.
    pub tokens: BTreeMap<TokenId, Token>,
}

impl Organization {
    /// Decides. No events means it was already so.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that says what to do instead.
    pub fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { name } => match &self.name {
                None => valid(&name).map(|()| vec![Event::OrganizationCreated { name }]),
                Some(known) if *known == name => Ok(vec![]),
                Some(_) => Err(Refusal::Exists),
            },
            Command::AddMember(member) => {
                self.founded()?;
                valid(&member.name)?;
                let known = self.members.get(&member.member) == Some(&member);
                Ok(if known { vec![] } else { vec![Event::MemberAdded(member)] })
            }
            Command::SetRole { member, role } => {
                let known = self.members.get(&member).ok_or(Refusal::NoMember(member))?;
                if known.role == role {
                    return Ok(vec![]);
                }
                if role != Role::Owner {
                    self.keeps_owner_without(member)?;
                }
                Ok(vec![Event::MemberRoleChanged { member, role }])
            }
            Command::RemoveMember { member } => {
                self.members.get(&member).ok_or(Refusal::NoMember(member))?;
                self.keeps_owner_without(member)?;
                let tokens = self.tokens.values().filter(|token| token.member == Some(member));
                let ended = tokens.map(|token| Event::TokenRevoked { token: token.token });
                Ok(ended.chain([Event::MemberRemoved { member }]).collect())
            }
            Command::IssueToken(token) => {
                if let Some(member) = token.member {
                    self.members.get(&member).ok_or(Refusal::NoMember(member))?;
                }
                let known = self.tokens.contains_key(&token.token);
                Ok(if known { vec![] } else { vec![Event::TokenIssued(token)] })
            }
            Command::RevokeToken { token } => {
                self.tokens.get(&token).ok_or(Refusal::NoToken(token))?;
                Ok(vec![Event::TokenRevoked { token }])
            }
        }
    }

    fn founded(&self) -> Result<(), Refusal> {
        self.name.as_ref().map(|_| ()).ok_or(Refusal::Unknown)
    }

    fn keeps_owner_without(&self, member: MemberId) -> Result<(), Refusal> {
        let other = |known: &&Member| known.member != member && known.role == Role::Owner;
        let is_owner = self.members.get(&member).is_some_and(|known| known.role == Role::Owner);
        if is_owner && self.members.values().find(other).is_none() {
            return Err(Refusal::LastOwner(member));
        }
        Ok(())
    }

    /// Applies one recorded event. Total.
    #[must_use]
    pub fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::OrganizationCreated { name } => self.name = Some(name.clone()),
            Event::MemberAdded(member) => {
                self.members.insert(member.member, member.clone());
            }
            Event::MemberRoleChanged { member, role } => {
                if let Some(known) = self.members.get_mut(member) {
                    known.role = *role;
                }
            }
            Event::MemberRemoved { member } => {
                self.members.remove(member);
            }
            Event::TokenIssued(token) => {
                self.tokens.insert(token.token, token.clone());
            }
            Event::TokenRevoked { token } => {
                self.tokens.remove(token);
            }
        }
        self
    }
}

fn valid(name: &str) -> Result<(), Refusal> {
    let fits = (1..=200).contains(&name.trim().chars().count()) && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Refusal::InvalidName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u128, role: Role) -> Member {
        Member { member: MemberId::from(uuid::Uuid::from_u128(id)), name: "ada".to_owned(), role }
    }

    fn given(history: &[Event]) -> Organization {
        history.iter().fold(Organization::default(), Organization::evolve)
    }

    fn founded() -> Vec<Event> {
        vec![
            Event::OrganizationCreated { name: "Acme".to_owned() },
            Event::MemberAdded(member(1, Role::Owner)),
        ]
    }

    fn token(id: u128, owner: &Member) -> Token {
        let token = TokenId::from(uuid::Uuid::from_u128(id));
        Token { token, member: Some(owner.member), role: None, operator: false, expires_at: None }
    }

    #[test]
    fn the_last_owner_stays() {
        let owner = member(1, Role::Owner);
        let organization = given(&founded());
        let demote = Command::SetRole { member: owner.member, role: Role::Admin };
        assert_eq!(organization.decide(demote), Err(Refusal::LastOwner(owner.member)));
        let remove = Command::RemoveMember { member: owner.member };
        assert_eq!(organization.decide(remove), Err(Refusal::LastOwner(owner.member)));
    }

    #[test]
    fn a_removed_member_takes_its_tokens_along() {
        let other = member(2, Role::Admin);
        let mut history = founded();
        history.extend([Event::MemberAdded(other.clone()), Event::TokenIssued(token(9, &other))]);
        let events = given(&history).decide(Command::RemoveMember { member: other.member }).unwrap();
        assert_eq!(
            events,
            [
                Event::TokenRevoked { token: token(9, &other).token },
                Event::MemberRemoved { member: other.member },
            ]
        );
        assert!(given(&[history, events].concat()).tokens.is_empty());
    }

    #[test]
    fn a_repeated_order_changes_nothing() {
        let owner = member(1, Role::Owner);
        let mut history = founded();
        history.push(Event::TokenIssued(token(9, &owner)));
        for command in [
            Command::Create { name: "Acme".to_owned() },
            Command::AddMember(owner.clone()),
            Command::SetRole { member: owner.member, role: Role::Owner },
            Command::IssueToken(token(9, &owner)),
        ] {
            assert_eq!(given(&history).decide(command), Ok(vec![]));
        }
    }

    #[test]
    fn nothing_joins_an_organization_that_is_not_there() {
        let owner = member(1, Role::Owner);
        assert_eq!(given(&[]).decide(Command::AddMember(owner.clone())), Err(Refusal::Unknown));
        let role = Command::SetRole { member: owner.member, role: Role::Admin };
        assert_eq!(given(&[]).decide(role), Err(Refusal::NoMember(owner.member)));
        let issue = Command::IssueToken(token(9, &owner));
        assert_eq!(given(&[]).decide(issue), Err(Refusal::NoMember(owner.member)));
        let blank = Command::Create { name: " ".to_owned() };
        assert_eq!(given(&[]).decide(blank), Err(Refusal::InvalidName));
    }
}
