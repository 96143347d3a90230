//! `replay`: the state of a stream after each of its events, up to a time or a revision.

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Map, Value, json};
use shared::{
    clock::rfc3339,
    envelope::{Recorded, StreamId},
    rebuild::Folder,
    store::Store,
    view::Row,
};

use super::{OpsError, print};

const EXAMPLES: &str = "Each line is one JSON object: the event, and the read models as they were after it.

Examples:
  mission-control replay --stream gateway-55cc268a-4b45-400f-accf-201e025232ac
  mission-control replay --stream gateway-55cc268a-4b45-400f-accf-201e025232ac --at 3
  mission-control replay --stream gateway-55cc268a-4b45-400f-accf-201e025232ac --at 2026-03-05T10:30:00Z

Exit codes: 0 done, 1 no such stream, 2 cannot tell.";

/// What to replay.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Replay {
    /// The stream, for example `gateway-<uuid>`.
    #[arg(long)]
    stream: String,
    /// Up to this time or this revision; the whole stream without it.
    #[arg(long, value_parser = until)]
    at: Option<Until>,
    /// Always on.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy)]
enum Until {
    Time(DateTime<Utc>),
    Revision(u64),
}

fn until(text: &str) -> Result<Until, String> {
    if let Ok(revision) = text.parse() {
        return Ok(Until::Revision(revision));
    }
    let time = DateTime::parse_from_rfc3339(text).map(|at| Until::Time(at.to_utc()));
    time.map_err(|_| "write a revision such as 3 or a time such as 2026-03-05T10:30:00Z".to_owned())
}

impl Until {
    fn includes(self, event: &Recorded) -> bool {
        match self {
            Self::Time(at) => event.recorded_at <= at,
            Self::Revision(revision) => event.version <= revision,
        }
    }
}

/// Prints the state after each event.
///
/// # Errors
///
/// [`OpsError`] if the stream cannot be read.
pub async fn run(store: &dyn Store, replay: &Replay) -> Result<u8, OpsError> {
    let history = store.load(&StreamId::stored(replay.stream.clone())).await?;
    let mut folder = Folder::default();
    let mut state = Map::new();
    for event in history.iter().filter(|event| replay.at.is_none_or(|until| until.includes(event))) {
        for row in folder.fold(event)? {
            apply(&mut state, row)?;
        }
        let line = json!({
            "position": event.position, "revision": event.version, "type": event.event_type,
            "recorded_at": rfc3339(event.recorded_at), "state": state,
        });
        print(&line.to_string())?;
    }
    Ok(u8::from(history.is_empty()))
}

fn apply(state: &mut Map<String, Value>, row: Row) -> Result<(), serde_json::Error> {
    let (name, value) = match row {
        Row::Gateway { document, .. } => ("gateway".to_owned(), serde_json::from_str(&document)?),
        Row::Operation { document, .. } => ("operation".to_owned(), serde_json::from_str(&document)?),
        Row::Agent { document, .. } => ("agent".to_owned(), serde_json::from_str(&document)?),
        Row::GatewayGone { .. } => {
            state.remove("agent");
            ("gateway".to_owned(), Value::Null)
        }
        Row::Organization { name, .. } => ("name".to_owned(), name.into()),
        Row::Member { id, member, .. } => {
            let member = member.map(|(name, role)| json!({"name": name, "role": role}));
            (id.to_string(), member.unwrap_or_default())
        }
        Row::Token { id, token, .. } => (id.to_string(), serde_json::to_value(token)?),
        Row::QueuePause(pause) => {
            let pause =
                pause.map(|(since, by, reason)| json!({"since": rfc3339(since), "by": by, "reason": reason}));
            ("paused".to_owned(), pause.unwrap_or_default())
        }
        Row::WorkerDrain { worker, drain } => {
            let drain =
                drain.map(|(since, by, reason)| json!({"since": rfc3339(since), "by": by, "reason": reason}));
            (format!("drained {worker}"), drain.unwrap_or_default())
        }
    };
    if value.is_null() {
        state.remove(&name);
    } else {
        state.insert(name, value);
    }
    Ok(())
}
