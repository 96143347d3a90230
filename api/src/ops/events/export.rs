//! `events export`: the log as lines that can be proved without the database, and reading them back.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    clock::{from_micros, rfc3339},
    envelope::{Hash, Recorded, StreamId},
    store::Store,
};

use super::Format;
use crate::ops::{OpsError, output::Progress, print};

/// Events per read.
const PAGE: u32 = 1_000;

/// Everything that the hash is made of, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    position: u64,
    event_id: String,
    stream_id: String,
    stream_version: u64,
    event_type: String,
    schema_version: u32,
    organization_id: Option<String>,
    recorded_at_us: i64,
    data: String,
    metadata: String,
    hash: String,
}

/// Prints the log from a position on.
///
/// # Errors
///
/// [`OpsError`] if the log cannot be read.
pub async fn run(store: &dyn Store, format: Format, mut after: u64) -> Result<u8, OpsError> {
    let head = store.head().await?.position;
    let mut progress = Progress::new("exported", after, head);
    loop {
        let page = store.log_page(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(0) };
        after = last.position;
        for event in &page {
            print(&line(event, format)?)?;
        }
        progress.reach(after);
    }
}

/// One event as one line.
///
/// # Errors
///
/// A JSON error if the stored data or metadata is not JSON.
pub fn line(event: &Recorded, format: Format) -> Result<String, serde_json::Error> {
    let stored = Stored {
        position: event.position,
        event_id: event.event_id.to_string(),
        stream_id: event.stream.to_string(),
        stream_version: event.version,
        event_type: event.event_type.clone(),
        schema_version: event.schema_version,
        organization_id: event.organization.map(|id| id.to_string()),
        recorded_at_us: event.recorded_at.timestamp_micros(),
        data: event.data.clone(),
        metadata: event.metadata.clone(),
        hash: event.hash.to_string(),
    };
    match format {
        Format::Ndjson => serde_json::to_string(&stored),
        Format::Cloudevents => serde_json::to_string(&cloud_event(event, &stored)?),
    }
}

fn cloud_event(event: &Recorded, stored: &Stored) -> Result<Value, serde_json::Error> {
    let metadata = event.parse_metadata()?;
    let mut cloud = json!({
        "specversion": "1.0",
        "id": stored.event_id,
        "source": "urn:mission-control",
        "type": stored.event_type,
        "subject": stored.stream_id,
        "time": rfc3339(event.recorded_at),
        "datacontenttype": "application/json",
        "sequence": format!("{:020}", event.position),
        "recordedtime": rfc3339(event.recorded_at),
        "data": { "event": serde_json::from_str::<Value>(&event.data)?, "stored": stored },
    });
    let optional = [
        ("correlationid", metadata.correlation_id.map(|id| id.to_string())),
        ("causationid", metadata.causation_id.map(|id| id.to_string())),
    ];
    if let Value::Object(fields) = &mut cloud {
        // CloudEvents knows no null: an attribute is there or it is not.
        let given = optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        fields.extend(given);
    }
    Ok(cloud)
}

/// Reads a line of either form back; `None` if it is neither, or a `CloudEvents` line that contradicts itself.
#[must_use]
pub fn read(line: &str) -> Option<Recorded> {
    #[derive(Deserialize)]
    struct Cloud {
        data: Inside,
    }
    #[derive(Deserialize)]
    struct Inside {
        stored: Stored,
    }
    let plain = serde_json::from_str::<Stored>(line).ok();
    let is_cloud = plain.is_none();
    let stored = plain.or_else(|| Some(serde_json::from_str::<Cloud>(line).ok()?.data.stored))?;
    let mut hash = Hash::default();
    hex::decode_to_slice(&stored.hash, &mut hash.0).ok()?;
    let organization = stored.organization_id.map(|id| id.parse()).transpose().ok()?;
    let event = Recorded {
        position: stored.position,
        event_id: stored.event_id.parse().ok()?,
        stream: StreamId::stored(stored.stream_id),
        version: stored.stream_version,
        event_type: stored.event_type,
        schema_version: stored.schema_version,
        organization,
        data: stored.data,
        metadata: stored.metadata,
        recorded_at: from_micros(stored.recorded_at_us),
        hash,
    };
    // What stands around the stored event is not hashed: it must be what the stored event says.
    let is_true = || Some(value(line)? == value(&self::line(&event, Format::Cloudevents).ok()?)?);
    (!is_cloud || is_true()?).then_some(event)
}

fn value(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}
