//! Rows of the log as `copy … to stdout (format binary)` writes them (PostgreSQL's manual, COPY, "Binary Format"): they are
//! taken as they are, in one piece, while each row of a query is several allocations of the driver.

use std::num::TryFromIntError;

use bytes::{Buf as _, Bytes, TryGetError};

use crate::envelope::StoredEvent;

/// What the data begins with; flags and the length of an extension follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Columns of an event.
const COLUMNS: i16 = 11;
/// Instead of the number of columns after the last row.
const END: i16 = -1;
/// Instead of the length of a value.
const NULL: i32 = -1;

/// It is no copy of the log.
struct Broken;

impl From<Broken> for sqlx::Error {
    fn from(_: Broken) -> Self {
        Self::Protocol("what the server wrote is no copy of the log".to_owned())
    }
}

impl From<TryGetError> for Broken {
    fn from(_: TryGetError) -> Self {
        Self
    }
}

impl From<TryFromIntError> for Broken {
    fn from(_: TryFromIntError) -> Self {
        Self
    }
}

/// The rows of a copy of all columns of the log, in the order of [`StoredEvent`].
pub(super) fn events(mut data: Bytes) -> Result<Vec<StoredEvent>, sqlx::Error> {
    Ok(parse(&mut data)?)
}

fn parse(data: &mut Bytes) -> Result<Vec<StoredEvent>, Broken> {
    let is_signed = take(data, SIGNATURE.len())? == SIGNATURE;
    let flags = data.try_get_u32()?;
    let extension = data.try_get_u32()?;
    take(data, extension.try_into()?)?;
    if !is_signed || flags != 0 {
        return Err(Broken);
    }
    let mut events = vec![];
    loop {
        match data.try_get_i16()? {
            END => return Ok(events),
            COLUMNS => events.push(event(data)?),
            _ => return Err(Broken),
        }
    }
}

fn event(data: &mut Bytes) -> Result<StoredEvent, Broken> {
    Ok(StoredEvent {
        position: number(data)?,
        event_id: bytes(data)?,
        stream_id: bytes(data)?,
        stream_version: number(data)?,
        event_type: bytes(data)?,
        schema_version: number(data)?,
        organization_id: value(data)?,
        data: bytes(data)?,
        metadata: bytes(data)?,
        recorded_at: number(data)?,
        hash: bytes(data)?,
    })
}

fn number(data: &mut Bytes) -> Result<i64, Broken> {
    bytes(data)?[..].try_into().map(i64::from_be_bytes).map_err(|_| Broken)
}

fn bytes(data: &mut Bytes) -> Result<Bytes, Broken> {
    value(data)?.ok_or(Broken)
}

/// The next value; `None` is null.
fn value(data: &mut Bytes) -> Result<Option<Bytes>, Broken> {
    match data.try_get_i32()? {
        NULL => Ok(None),
        length => take(data, length.try_into()?).map(Some),
    }
}

fn take(data: &mut Bytes, length: usize) -> Result<Bytes, Broken> {
    if length <= data.len() { Ok(data.split_to(length)) } else { Err(Broken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(columns: &[Option<&[u8]>]) -> Vec<u8> {
        let mut data = [SIGNATURE, &[0; 4], &3_u32.to_be_bytes(), b"ext"].concat();
        data.extend(COLUMNS.to_be_bytes());
        for column in columns {
            let length = column.map_or(NULL, |column| i32::try_from(column.len()).unwrap());
            data.extend(length.to_be_bytes());
            data.extend(column.unwrap_or_default());
        }
        data.extend(END.to_be_bytes());
        data
    }

    #[test]
    fn every_column_is_taken_and_whatever_is_cut_off_is_told() {
        let [position, version, schema, at] = [7_i64, 2, 1, 1_772_706_600_000_000].map(i64::to_be_bytes);
        let mut columns: [Option<&[u8]>; 11] = [
            Some(&position),
            Some(b"event"),
            Some(b"stream"),
            Some(&version),
            Some(b"type"),
            Some(&schema),
            None,
            Some(b"\xff"),
            Some(b""),
            Some(&at),
            Some(b"hash"),
        ];
        let data = written(&columns);
        let event = StoredEvent {
            position: 7,
            event_id: "event".into(),
            stream_id: "stream".into(),
            stream_version: 2,
            event_type: "type".into(),
            schema_version: 1,
            organization_id: None,
            data: Bytes::from_static(b"\xff"),
            metadata: Bytes::new(),
            recorded_at: 1_772_706_600_000_000,
            hash: "hash".into(),
        };
        assert_eq!(events(data.clone().into()).unwrap(), [event]);
        for length in 0..data.len() {
            assert!(events(Bytes::copy_from_slice(&data[..length])).is_err(), "{length} bytes");
        }
        columns[0] = Some(b"1");
        assert!(events(written(&columns).into()).is_err(), "a position has eight bytes");
        columns[0] = None;
        assert!(events(written(&columns).into()).is_err(), "a position is not null");
    }
}
