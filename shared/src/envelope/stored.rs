//! An event as it is stored, with nothing parsed: a proof must see every byte that stands there, and must not stop at one
//! that cannot be read.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{Hash, Recorded, StreamId};
use crate::clock::from_micros;

/// A row of the log. Texts are the stored bytes, which need not be UTF-8 any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredEvent {
    /// Global, from 1, without a gap.
    pub position: i64,
    /// UUID, as text.
    pub event_id: Vec<u8>,
    /// Name of the stream.
    pub stream_id: Vec<u8>,
    /// Place in the stream, from 1.
    pub stream_version: i64,
    /// Stored name.
    pub event_type: Vec<u8>,
    /// Version of the data's shape.
    pub schema_version: i64,
    /// `org-` and a UUID, as text.
    pub organization_id: Option<Vec<u8>>,
    /// JSON.
    pub data: Vec<u8>,
    /// JSON.
    pub metadata: Vec<u8>,
    /// Microseconds since 1970, UTC.
    pub recorded_at: i64,
    /// 32 bytes, unless somebody changed them.
    pub hash: Vec<u8>,
}

impl From<&Recorded> for StoredEvent {
    fn from(event: &Recorded) -> Self {
        Self {
            position: i64::try_from(event.position).unwrap_or(i64::MAX),
            event_id: event.event_id.to_string().into(),
            stream_id: event.stream.as_str().into(),
            stream_version: i64::try_from(event.version).unwrap_or(i64::MAX),
            event_type: event.event_type.as_str().into(),
            schema_version: event.schema_version.into(),
            organization_id: event.organization.map(|id| id.to_string().into()),
            data: event.data.as_str().into(),
            metadata: event.metadata.as_str().into(),
            recorded_at: event.recorded_at.timestamp_micros(),
            hash: event.hash.0.to_vec(),
        }
    }
}

impl StoredEvent {
    /// The hash that this event must have after `previous` (DESIGN.md §4): the tag and the previous hash raw, then each
    /// field with its length as four big-endian bytes; numbers as decimal ASCII; no organization as length 0.
    #[must_use]
    pub fn hash_after(&self, previous: Hash) -> Hash {
        let numbers = [self.position, self.stream_version, self.schema_version, self.recorded_at]
            .map(|n| n.to_string());
        let [position, version, schema, recorded_at] = numbers.each_ref().map(String::as_bytes);
        let organization = self.organization_id.as_deref().unwrap_or_default();
        let mut digest = Sha256::new();
        digest.update(b"mc-event-v1");
        digest.update(previous.0);
        for field in [
            position,
            &self.event_id,
            &self.stream_id,
            version,
            &self.event_type,
            schema,
            organization,
            recorded_at,
            &self.data,
            &self.metadata,
        ] {
            digest.update(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            digest.update(field);
        }
        Hash(digest.finalize().into())
    }

    /// The stored hash; `None` if it is none any more.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        self.hash.as_slice().try_into().map(Hash).ok()
    }

    /// When it was recorded.
    #[must_use]
    pub fn recorded_at(&self) -> DateTime<Utc> {
        from_micros(self.recorded_at)
    }

    /// The stream, as text.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        StreamId::stored(String::from_utf8_lossy(&self.stream_id).into_owned())
    }
}
