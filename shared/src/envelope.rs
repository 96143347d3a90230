//! An event as it is recorded: who, when, where in the log, and the hash that chains it to the one before.

mod stored;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    clock::rfc3339,
    ids::{EventId, GatewayId, OperationId, OrganizationId},
    upcast::{STEPS, current_version, upcast},
};

pub(crate) use stored::Pieces;
pub use stored::StoredEvent;

/// The name of a stream: `gateway-<uuid>`, `organization-<uuid>`, `installation`, `queue` or `key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(String);

impl StreamId {
    /// The stream of the operator's own tokens.
    #[must_use]
    pub fn installation() -> Self {
        Self("installation".to_owned())
    }

    /// The stream of what operators do to the queue.
    #[must_use]
    pub fn queue() -> Self {
        Self("queue".to_owned())
    }

    /// The stream of the master key.
    #[must_use]
    pub fn key() -> Self {
        Self("key".to_owned())
    }

    /// A name read back from the database.
    #[must_use]
    pub fn stored(name: String) -> Self {
        Self(name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<GatewayId> for StreamId {
    fn from(id: GatewayId) -> Self {
        Self(format!("gateway-{id}"))
    }
}

impl From<OrganizationId> for StreamId {
    fn from(id: OrganizationId) -> Self {
        Self(format!("organization-{}", id.uuid()))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// `member`, `operator`, `worker` or `agent`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
}

impl Actor {
    /// The person at the command line of the host.
    #[must_use]
    pub fn command_line() -> Self {
        Self { kind: "operator".to_owned(), id: "command-line".to_owned(), name: "command line".to_owned() }
    }

    /// A worker process.
    #[must_use]
    pub fn worker(id: &str) -> Self {
        Self { kind: "worker".to_owned(), id: id.to_owned(), name: "worker".to_owned() }
    }
}

/// What is recorded beside an event's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Who.
    pub actor: Actor,
    /// The operation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// The operation again: what ties a request, its job and its outcome together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<OperationId>,
    /// The event that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<EventId>,
    /// The HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// W3C trace context of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The worker that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
    /// The attempt that it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

impl Metadata {
    /// Of what this actor did, and nothing else.
    #[must_use]
    pub const fn of(actor: Actor) -> Self {
        Self {
            actor,
            operation: None,
            correlation_id: None,
            causation_id: None,
            request_id: None,
            traceparent: None,
            worker_id: None,
            attempt: None,
        }
    }
}

/// An event that is about to be recorded; its place in the log is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id.
    pub event_id: EventId,
    /// The stored name, for example `GatewayRequested`.
    pub event_type: String,
    /// Version of the data's shape, from 1.
    pub schema_version: u32,
    /// JSON, as it will be stored and hashed.
    pub data: String,
    /// JSON of a [`Metadata`].
    pub metadata: String,
}

impl NewEvent {
    /// Takes a domain event apart into its stored name and its data.
    ///
    /// # Errors
    ///
    /// A JSON error, which for our own event types would be a bug.
    pub fn new(
        event_id: EventId,
        event: &impl Serialize,
        metadata: &Metadata,
    ) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Parts {
            #[serde(rename = "type")]
            event_type: String,
            data: Box<serde_json::value::RawValue>,
        }
        let parts: Parts = serde_json::from_str(&serde_json::to_string(event)?)?;
        Ok(Self {
            event_id,
            schema_version: current_version(STEPS, &parts.event_type),
            event_type: parts.event_type,
            data: parts.data.get().to_owned(),
            metadata: serde_json::to_string(metadata)?,
        })
    }
}

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Global, from 1, without a gap.
    pub position: u64,
    /// Its id.
    pub event_id: EventId,
    /// Where it belongs.
    pub stream: StreamId,
    /// Its place in the stream, from 1.
    pub version: u64,
    /// The stored name.
    pub event_type: String,
    /// Version of the data's shape.
    pub schema_version: u32,
    /// Whose it is; `None` for the installation's own.
    pub organization: Option<OrganizationId>,
    /// JSON, byte for byte as hashed.
    pub data: String,
    /// JSON of a [`Metadata`], byte for byte as hashed.
    pub metadata: String,
    /// When, in whole microseconds.
    pub recorded_at: DateTime<Utc>,
    /// SHA-256 over the previous hash and everything above.
    pub hash: Hash,
}

/// A link of the chain: 32 bytes, printed as lower-case hex. Genesis is all zero.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Recorded {
    /// Reads the domain event back.
    ///
    /// # Errors
    ///
    /// A JSON error for an event type or shape that this program does not know.
    pub fn event<E: for<'de> Deserialize<'de>>(&self) -> Result<E, serde_json::Error> {
        let data = upcast(STEPS, &self.event_type, self.schema_version, &self.data);
        serde_json::from_str(&format!(r#"{{"type":"{}","data":{data}}}"#, self.event_type))
    }

    /// Reads the metadata back.
    ///
    /// # Errors
    ///
    /// A JSON error for a shape that this program does not know.
    pub fn parse_metadata(&self) -> Result<Metadata, serde_json::Error> {
        serde_json::from_str(&self.metadata)
    }

    /// The HTTP request that caused it, where one did; nothing else of the metadata is kept.
    ///
    /// # Errors
    ///
    /// A JSON error for a shape that this program does not know.
    pub fn request_id(&self) -> Result<Option<String>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Part {
            #[serde(default)]
            request_id: Option<String>,
        }
        serde_json::from_str::<Part>(&self.metadata).map(|part| part.request_id)
    }

    /// The event as every endpoint shows it (API.md §4).
    ///
    /// # Errors
    ///
    /// A JSON error if the stored data or metadata is not JSON.
    pub fn shown(&self) -> Result<ShownEvent, serde_json::Error> {
        let metadata = self.parse_metadata()?;
        Ok(ShownEvent {
            position: self.position,
            id: self.event_id,
            event_type: self.event_type.clone(),
            stream: self.stream.clone(),
            revision: self.version,
            organization_id: self.organization,
            recorded_at: rfc3339(self.recorded_at),
            actor: metadata.actor,
            operation: metadata.operation,
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id,
            request_id: metadata.request_id,
            data: serde_json::from_str(&self.data)?,
            hash: self.hash.to_string(),
        })
    }
}

/// An event as it is shown to a client.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ShownEvent {
    /// Global position.
    pub position: u64,
    /// Event id.
    #[schema(value_type = String, format = Uuid)]
    pub id: EventId,
    /// Stored name.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Stream name.
    #[schema(value_type = String)]
    pub stream: StreamId,
    /// Version in the stream.
    pub revision: u64,
    /// Whose it is.
    #[schema(value_type = Option<String>)]
    pub organization_id: Option<OrganizationId>,
    /// RFC 3339 with six fractional digits.
    pub recorded_at: String,
    /// Who caused it.
    pub actor: Actor,
    /// The operation.
    #[schema(value_type = Option<String>)]
    pub operation: Option<OperationId>,
    /// The same as `operation`.
    #[schema(value_type = Option<String>)]
    pub correlation_id: Option<OperationId>,
    /// The event that led to it.
    #[schema(value_type = Option<String>)]
    pub causation_id: Option<EventId>,
    /// The HTTP request.
    pub request_id: Option<String>,
    /// The event's own fields.
    pub data: serde_json::Value,
    /// Lower-case hex.
    pub hash: String,
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::clock::from_micros;

    #[test]
    fn the_hash_is_the_documented_one() {
        let id = uuid::Uuid::from_u128(1);
        let event = Recorded {
            position: 12,
            event_id: EventId::from(id),
            stream: StreamId::from(GatewayId::from(id)),
            version: 3,
            event_type: "GatewayCreated".to_owned(),
            schema_version: 1,
            organization: None,
            data: "{}".to_owned(),
            metadata: r#"{"a":1}"#.to_owned(),
            recorded_at: from_micros(1_700_000_000_000_001),
            hash: Hash::default(),
        };
        let mut bytes = b"mc-event-v1".to_vec();
        bytes.extend([0; 32]);
        for field in [
            "12",
            "00000000-0000-0000-0000-000000000001",
            "gateway-00000000-0000-0000-0000-000000000001",
            "3",
            "GatewayCreated",
            "1",
            "",
            "1700000000000001",
            "{}",
            r#"{"a":1}"#,
        ] {
            bytes.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
            bytes.extend(field.as_bytes());
        }
        assert_eq!(event.hash_after(Hash::default()).0.to_vec(), Sha256::digest(&bytes).to_vec());
        assert_ne!(event.hash_after(Hash([1; 32])), event.hash_after(Hash::default()));
    }
}
