//! `events export`: the log as lines that can be proved without the database, and reading them back.

use std::{borrow::Cow, io::Write as _};

use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use shared::{
    beside::beside,
    clock::rfc3339,
    envelope::{Metadata, StoredEvent},
    store::Store,
};

use super::Format;
use crate::ops::{OpsError, output::Progress};

/// Events per read.
const PAGE: u32 = 1_000;

/// Everything that the hash is made of, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored<'a> {
    position: i64,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    stream_id: Cow<'a, str>,
    stream_version: i64,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    schema_version: i64,
    #[serde(borrow)]
    organization_id: Option<Cow<'a, str>>,
    recorded_at_us: i64,
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    metadata: Cow<'a, str>,
    hash: String,
}

impl<'a> From<&'a StoredEvent> for Stored<'a> {
    /// What is not UTF-8 any more is replaced: whoever proves the file finds it.
    fn from(event: &'a StoredEvent) -> Self {
        Self {
            position: event.position,
            event_id: String::from_utf8_lossy(&event.event_id),
            stream_id: String::from_utf8_lossy(&event.stream_id),
            stream_version: event.stream_version,
            event_type: String::from_utf8_lossy(&event.event_type),
            schema_version: event.schema_version,
            organization_id: event.organization_id.as_deref().map(String::from_utf8_lossy),
            recorded_at_us: event.recorded_at,
            data: String::from_utf8_lossy(&event.data),
            metadata: String::from_utf8_lossy(&event.metadata),
            hash: hex::encode(&event.hash),
        }
    }
}

/// A `CloudEvents` 1.0 event in its JSON form. It knows no null: an attribute is there or it is not.
#[derive(Debug, Serialize)]
struct Cloud<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    sequence: String,
    recordedtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<String>,
    data: Data<'a>,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    event: &'a RawValue,
    stored: &'a Stored<'a>,
}

/// Prints the log from a position on. A page is read while the one before is printed.
///
/// # Errors
///
/// [`OpsError`] if the log cannot be read.
pub async fn run(store: &dyn Store, format: Format, mut after: u64) -> Result<u8, OpsError> {
    let head = store.head().await?.position;
    let mut progress = Progress::new("exported", after, head);
    let mut page = store.stored_page(after, PAGE).await?;
    while let Some(last) = page.last() {
        after = u64::try_from(last.position).unwrap_or(u64::MAX);
        let printing = beside(move || print_page(&page, format));
        let (next, printed) = tokio::join!(store.stored_page(after, PAGE), printing);
        printed??;
        page = next?;
        progress.reach(after);
    }
    Ok(0)
}

fn print_page(page: &[StoredEvent], format: Format) -> Result<(), OpsError> {
    let mut lines = String::new();
    for event in page {
        lines.push_str(&line(event, format)?);
        lines.push('\n');
    }
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    Ok(out.flush()?)
}

/// One event as one line.
///
/// # Errors
///
/// A JSON error if the stored data or metadata is not JSON.
pub fn line(event: &StoredEvent, format: Format) -> Result<String, serde_json::Error> {
    let stored = Stored::from(event);
    match format {
        Format::Ndjson => serde_json::to_string(&stored),
        Format::Cloudevents => serde_json::to_string(&cloud_event(event, &stored)?),
    }
}

fn cloud_event<'a>(event: &StoredEvent, stored: &'a Stored<'a>) -> Result<Cloud<'a>, serde_json::Error> {
    let metadata: Metadata = serde_json::from_str(&stored.metadata)?;
    let time = rfc3339(event.recorded_at());
    Ok(Cloud {
        specversion: "1.0",
        id: &stored.event_id,
        source: "urn:mission-control",
        event_type: &stored.event_type,
        subject: &stored.stream_id,
        time: time.clone(),
        datacontenttype: "application/json",
        sequence: format!("{:020}", event.position),
        recordedtime: time,
        correlationid: metadata.correlation_id.map(|id| id.to_string()),
        causationid: metadata.causation_id.map(|id| id.to_string()),
        data: Data { event: serde_json::from_str(&stored.data)?, stored },
    })
}

/// Reads a line of either form back; `None` if it is neither, or a `CloudEvents` line that contradicts itself.
#[must_use]
pub fn read(line: &str) -> Option<StoredEvent> {
    #[derive(Deserialize)]
    struct Cloud<'a> {
        #[serde(borrow)]
        data: Inside<'a>,
    }
    #[derive(Deserialize)]
    struct Inside<'a> {
        #[serde(borrow)]
        stored: Stored<'a>,
    }
    let plain = serde_json::from_str::<Stored<'_>>(line).ok();
    let is_cloud = plain.is_none();
    let stored = plain.or_else(|| Some(serde_json::from_str::<Cloud<'_>>(line).ok()?.data.stored))?;
    let bytes = |text: Cow<'_, str>| Bytes::from(text.into_owned());
    let event = StoredEvent {
        position: stored.position,
        event_id: bytes(stored.event_id),
        stream_id: bytes(stored.stream_id),
        stream_version: stored.stream_version,
        event_type: bytes(stored.event_type),
        schema_version: stored.schema_version,
        organization_id: stored.organization_id.map(bytes),
        data: bytes(stored.data),
        metadata: bytes(stored.metadata),
        recorded_at: stored.recorded_at_us,
        hash: hex::decode(&stored.hash).ok()?.into(),
    };
    // What stands around the stored event is not hashed: it must be what the stored event says.
    let is_true = || Some(value(line)? == value(&self::line(&event, Format::Cloudevents).ok()?)?);
    (!is_cloud || is_true()?).then_some(event)
}

fn value(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}
