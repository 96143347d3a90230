//! An event as it is stored, with nothing parsed: a proof must see every byte that stands there, and must not stop at one
//! that cannot be read.

use bytes::{Bytes, BytesMut};
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
    pub event_id: Bytes,
    /// Name of the stream.
    pub stream_id: Bytes,
    /// Place in the stream, from 1.
    pub stream_version: i64,
    /// Stored name.
    pub event_type: Bytes,
    /// Version of the data's shape.
    pub schema_version: i64,
    /// `org-` and a UUID, as text.
    pub organization_id: Option<Bytes>,
    /// JSON.
    pub data: Bytes,
    /// JSON.
    pub metadata: Bytes,
    /// Microseconds since 1970, UTC.
    pub recorded_at: i64,
    /// 32 bytes, unless somebody changed them.
    pub hash: Bytes,
}

/// Bytes of one buffer after the other, each given away in pieces: the texts of a page of events are few allocations
/// instead of seven for each event, which another thread would have to free.
#[derive(Debug)]
pub(crate) struct Pieces(BytesMut);

impl Pieces {
    /// Bytes of one buffer.
    const BUFFER: usize = 64 * 1024;

    /// A copy of these bytes.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

impl Default for Pieces {
    fn default() -> Self {
        Self(BytesMut::with_capacity(Self::BUFFER))
    }
}

/// What a hash is made of beside the hash before: position, version, schema version and instant; and event id, stream,
/// type, organization, data and metadata.
type Parts<'a> = ([i64; 4], [&'a [u8]; 6]);

/// The tag and the previous hash raw, then each field with its length as four big-endian bytes; numbers as decimal ASCII;
/// no organization as length 0 (DESIGN.md §4).
fn chained(previous: Hash, (numbers, texts): Parts<'_>) -> Hash {
    let [position, version, schema, recorded_at] = numbers;
    let [event_id, stream, event_type, organization, data, metadata] = texts;
    let [a, b, c, d] = &mut [(); 4].map(|()| itoa::Buffer::new());
    let mut digest = Sha256::new();
    digest.update(b"mc-event-v1");
    digest.update(previous.0);
    for field in [
        a.format(position).as_bytes(),
        event_id,
        stream,
        b.format(version).as_bytes(),
        event_type,
        c.format(schema).as_bytes(),
        organization,
        d.format(recorded_at).as_bytes(),
        data,
        metadata,
    ] {
        digest.update(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(field);
    }
    Hash(digest.finalize().into())
}

impl Recorded {
    /// The hash that this event must have after `previous`: see [`StoredEvent::hash_after`].
    #[must_use]
    pub fn hash_after(&self, previous: Hash) -> Hash {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (event_id, organization) =
            (self.event_id.to_string(), self.organization.map(|id| id.to_string()));
        let numbers = [
            signed(self.position),
            signed(self.version),
            self.schema_version.into(),
            self.recorded_at.timestamp_micros(),
        ];
        let texts = [
            event_id.as_str(),
            self.stream.as_str(),
            &self.event_type,
            organization.as_deref().unwrap_or_default(),
            &self.data,
            &self.metadata,
        ];
        chained(previous, (numbers, texts.map(str::as_bytes)))
    }
}

impl StoredEvent {
    /// The hash that this event must have after `previous` (DESIGN.md §4).
    #[must_use]
    pub fn hash_after(&self, previous: Hash) -> Hash {
        let numbers = [self.position, self.stream_version, self.schema_version, self.recorded_at];
        let texts = [
            &self.event_id,
            &self.stream_id,
            &self.event_type,
            self.organization_id.as_deref().unwrap_or_default(),
            &self.data,
            &self.metadata,
        ];
        chained(previous, (numbers, texts))
    }

    /// The stored hash; `None` if it is none any more.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        self.hash[..].try_into().map(Hash).ok()
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
