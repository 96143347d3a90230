//! `/api/v1/events`: the log, or an organization's part of it. One endpoint, one file.

pub mod get;
pub mod list;
pub mod stream;

use chrono::{DateTime, Utc};
use shared::{envelope::StreamId, store::EventFilter};

use crate::{auth::Reader, parameters::Parameters};

/// The largest position that can be asked for.
const POSITION_MAX: u64 = 9_000_000_000_000_000;

/// The filter of a query, narrowed to what this reader may see whatever the query says.
fn filter(parameters: &mut Parameters, reader: &Reader) -> EventFilter {
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_id = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let event_type =
        plain(parameters, "type", is_name, "must be the name of an event, such as GatewayCreated");
    let stream = plain(parameters, "stream", is_id, "must be the name of a stream, such as gateway-<uuid>");
    let actor = plain(parameters, "actor", is_id, "must be the id of an actor, such as member-<uuid>");
    let operation = parameters.text("operation").and_then(|text| {
        let id = text.parse().ok();
        if id.is_none() {
            parameters.refuse("operation", "must be the id of an operation");
        }
        id
    });
    EventFilter {
        organization: reader.organization,
        event_type,
        stream: stream.map(StreamId::stored),
        actor,
        operation,
        since: instant(parameters, "since"),
        until: instant(parameters, "until"),
    }
}

fn plain(
    parameters: &mut Parameters,
    name: &str,
    is_valid: impl Fn(&str) -> bool,
    what: &str,
) -> Option<String> {
    let text = parameters.text(name)?;
    if text.is_empty() || text.len() > 100 || !is_valid(&text) {
        parameters.refuse(name, what);
        return None;
    }
    Some(text)
}

fn instant(parameters: &mut Parameters, name: &str) -> Option<DateTime<Utc>> {
    let text = parameters.text(name)?;
    let at = DateTime::parse_from_rfc3339(&text).ok();
    if at.is_none() {
        parameters.refuse(name, "must be a time such as 2026-03-05T10:30:00Z");
    }
    at.map(|at| at.to_utc())
}
