//! Identifiers. Minted at the edge from the clock and the random source, never inside the domain.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use ulid::Ulid;
use uuid::Uuid;

/// A text that is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}")]
pub struct InvalidId {
    /// The kind of identifier that was wanted, for example `gateway id`.
    pub kind: &'static str,
}

/// A `UUIDv7` for this instant: sorts by time to the millisecond.
#[must_use]
pub fn uuid_v7(at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    let mut random = [0_u8; 10];
    rand::fill(&mut random);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// Mints an id for this instant.
            #[must_use]
            pub fn mint(at: DateTime<Utc>) -> Self {
                Self(uuid_v7(at))
            }

            /// The bare UUID, without a prefix.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .filter(|uuid| uuid.len() == 36)
                    .and_then(|uuid| Uuid::try_parse(uuid).ok())
                    .map(Self)
                    .ok_or(InvalidId { kind: $kind })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

uuid_id!(
    /// One registered gateway; never reused, even after removal. Shown as a bare UUID.
    GatewayId, "gateway id", ""
);
uuid_id!(
    /// The organization that owns a gateway. Shown as `org-` and a UUID.
    OrganizationId, "organization id", "org-"
);
uuid_id!(
    /// One asked-for change and its outcome; the correlation id of its events. Shown as a bare UUID.
    OperationId, "operation id", ""
);
uuid_id!(
    /// One recorded event.
    EventId, "event id", ""
);
uuid_id!(
    /// One row of the job queue.
    JobId, "job id", ""
);
uuid_id!(
    /// The right to finish one delivery of a job; a new one with each claim.
    LeaseToken, "lease token", ""
);
uuid_id!(
    /// One run of a rebuild of the read models.
    RebuildId, "rebuild id", ""
);
uuid_id!(
    /// A person or program that belongs to an organization. Shown as `member-` and a UUID.
    MemberId, "member id", "member-"
);
uuid_id!(
    /// An API token, not its secret part. Shown as `token-` and a UUID.
    TokenId, "token id", "token-"
);

/// The main agent of a gateway: `agent-` and a ULID, as in `agent-01JCXYZ123…`.
///
/// Gateways lower-case agent ids; [`AgentId::on_gateway`] is the form they use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(Ulid);

impl AgentId {
    /// Mints an id for this instant.
    #[must_use]
    pub fn mint(at: DateTime<Utc>) -> Self {
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
        let mut random = [0_u8; 16];
        rand::fill(&mut random);
        Self(Ulid::from_parts(millis, u128::from_be_bytes(random)))
    }

    /// The id as gateways store it: lower case.
    #[must_use]
    pub fn on_gateway(self) -> String {
        self.to_string().to_ascii_lowercase()
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agent-{}", self.0)
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AgentId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { kind: "agent id" };
        let (prefix, ulid) = text.split_once('-').ok_or_else(|| invalid.clone())?;
        if !prefix.eq_ignore_ascii_case("agent") {
            return Err(invalid);
        }
        Ulid::from_string(ulid).map(Self).map_err(|_| invalid)
    }
}

impl Serialize for AgentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AgentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_print() {
        let at = DateTime::UNIX_EPOCH;
        let gateway = GatewayId::mint(at);
        let organization = OrganizationId::mint(at);
        let agent = AgentId::mint(at);
        assert_eq!(gateway.to_string().parse(), Ok(gateway));
        assert_eq!(organization.to_string().parse(), Ok(organization));
        assert_eq!(agent.to_string().parse(), Ok(agent));
        assert_eq!(agent.on_gateway().parse(), Ok(agent));
        assert!(organization.to_string().starts_with("org-"));
        assert!("org-x".parse::<OrganizationId>().is_err());
        assert!(gateway.to_string().parse::<OrganizationId>().is_err());
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let early = DateTime::UNIX_EPOCH;
        let late = early + chrono::TimeDelta::seconds(1);
        assert!(GatewayId::mint(early) < GatewayId::mint(late));
        assert!(AgentId::mint(early).to_string() < AgentId::mint(late).to_string());
    }
}
