//! Reads of the event log.

use futures_util::TryStreamExt as _;
use sqlx::{Row as _, SqlitePool, sqlite::SqliteRow};

use crate::{
    clock::from_micros,
    envelope::{Pieces, Recorded, StoredEvent, StreamId},
    store::{
        StoreError,
        stored::{parse, parse_hash, signed, small, unsigned},
    },
};

/// All columns, in their order.
pub(super) const COLUMNS: &str = "position, event_id, stream_id, stream_version, event_type, schema_version, organization_id, \
                       data, metadata, recorded_at, hash";

/// Events of a stream after a global position, in order.
pub(super) async fn stream(
    pool: &SqlitePool,
    stream: &StreamId,
    after: u64,
    limit: u32,
) -> Result<Vec<Recorded>, StoreError> {
    let text = format!(
        "select {COLUMNS} from events where stream_id = ? and position > ? order by stream_version limit ?"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(stream.as_str())
        .bind(signed(after))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
        .map_err(StoreError::doing("load a stream"))?;
    rows.iter().map(recorded).collect()
}

/// Events of the whole log after a position, in order.
pub(super) async fn log(pool: &SqlitePool, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
    let text = format!("select {COLUMNS} from events where position > ? order by position limit ?");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(signed(after))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
        .map_err(StoreError::doing("read the log"))?;
    rows.iter().map(recorded).collect()
}

/// The same, with nothing parsed.
pub(super) async fn stored(
    pool: &SqlitePool,
    after: u64,
    limit: u32,
) -> Result<Vec<StoredEvent>, StoreError> {
    let text = format!("select {COLUMNS} from events where position > ? order by position limit ?");
    let failed = || StoreError::doing("read the log as it is stored");
    let mut rows =
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(signed(after)).bind(i64::from(limit)).fetch(pool);
    let (mut page, mut pieces) = (vec![], Pieces::default());
    while let Some(row) = rows.try_next().await.map_err(failed())? {
        page.push(stored_event(&row, &mut pieces).map_err(failed())?);
    }
    Ok(page)
}

/// A text's bytes are taken whether or not they are UTF-8 any more.
fn stored_event(row: &SqliteRow, pieces: &mut Pieces) -> Result<StoredEvent, sqlx::Error> {
    let mut bytes = |column| row.try_get(column).map(|bytes| pieces.copy(bytes));
    Ok(StoredEvent {
        position: row.try_get(0)?,
        event_id: bytes(1)?,
        stream_id: bytes(2)?,
        stream_version: row.try_get(3)?,
        event_type: bytes(4)?,
        schema_version: row.try_get(5)?,
        data: bytes(7)?,
        metadata: bytes(8)?,
        recorded_at: row.try_get(9)?,
        hash: bytes(10)?,
        organization_id: row.try_get::<Option<_>, _>(6)?.map(|bytes| pieces.copy(bytes)),
    })
}

/// An event, from a row of all columns in their order.
pub(super) fn recorded(row: &SqliteRow) -> Result<Recorded, StoreError> {
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
