//! Reads of the event log.

use sqlx::{Row as _, postgres::PgRow};

use super::{connections::Lines, copy};
use crate::{
    clock::from_micros,
    envelope::{Recorded, StoredEvent, StreamId},
    store::{
        StoreError,
        stored::{parse, parse_hash, signed, small, unsigned},
    },
};

/// Events of a stream after a global position, in order.
pub(super) async fn stream(
    lines: &Lines,
    stream: &StreamId,
    after: u64,
    limit: u32,
) -> Result<Vec<Recorded>, StoreError> {
    let statement = || {
        sqlx::query(
            "select position, event_id, stream_id, stream_version, event_type, schema_version, organization_id, \
                    data, metadata, recorded_at, hash \
             from events where stream_id = $1 and position > $2 order by stream_version limit $3",
        )
        .bind(stream.as_str())
        .bind(signed(after))
        .bind(i64::from(limit))
    };
    lines.fetch("load a stream", statement).await?.iter().map(recorded).collect()
}

/// Events of the whole log after a position, in order.
pub(super) async fn log(lines: &Lines, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
    let statement = || {
        sqlx::query(
            "select position, event_id, stream_id, stream_version, event_type, schema_version, organization_id, \
                    data, metadata, recorded_at, hash \
             from events where position > $1 order by position limit $2",
        )
        .bind(signed(after))
        .bind(i64::from(limit))
    };
    lines.fetch("read the log", statement).await?.iter().map(recorded).collect()
}

/// The same, with nothing parsed. A text is sent as its bytes, which are taken as they are.
pub(super) async fn stored(lines: &Lines, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
    let doing = "read the log as it is stored";
    // A copy has no parameters.
    let statement = format!(
        "copy (select position, event_id, stream_id, stream_version, event_type, schema_version, organization_id, \
                      data, metadata, recorded_at, hash \
               from events where position > {} order by position limit {limit}) \
         to stdout (format binary)",
        signed(after)
    );
    copy::events(lines.copy(doing, statement.into()).await?).map_err(StoreError::doing(doing))
}

/// An event, from a row of all columns in their order.
pub(super) fn recorded(row: &PgRow) -> Result<Recorded, StoreError> {
    let organization: Option<String> = row.get(6);
    Ok(Recorded {
        position: unsigned(row.get(0)),
        event_id: parse("event id", row.get(1))?,
        stream: StreamId::stored(row.get(2)),
        version: unsigned(row.get(3)),
        event_type: row.get(4),
        schema_version: small(row.get(5)),
        organization: organization.map(|id| parse("organization id", id)).transpose()?,
        data: row.get(7),
        metadata: row.get(8),
        recorded_at: from_micros(row.get(9)),
        hash: parse_hash(row.get(10))?,
    })
}
