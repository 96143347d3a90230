//! `GET /api/v1/events/stream`: the log as Server-Sent Events, as it grows.
//!
//! What was recorded before is read from the database, page by page, as fast as the client takes it; from there on the
//! client is fed by the process's one tailer, and costs no query of its own.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use shared::{
    chain::chain,
    envelope::Recorded,
    problem::Problem,
    store::{EventFilter, StoreError},
    watch::Feed,
};
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;

use super::{POSITION_MAX, filter};
use crate::{
    auth::Reader,
    parameters::Parameters,
    problem::{Failure, codes},
    state::App,
};

/// A comment is sent this often, so that nobody in between takes the connection for dead; the token is looked at then.
const COMMENT: Duration = Duration::from_secs(15);
/// Events per read of what was recorded before.
const PAGE: u32 = 500;

/// One event of the stream as clients parse it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "tells the document what the stream is made of, field by field")]
struct ServerSentEvent {
    /// The position, for `Last-Event-ID`.
    #[schema(pattern = "^[0-9]{1,16}$")]
    id: String,
    /// The event's name.
    #[schema(pattern = "^[A-Za-z]{1,100}$")]
    event: String,
    /// The event as one line of JSON, shaped as `GET /api/v1/events/{position}` answers it.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// Shows the log as it grows, as Server-Sent Events: `id` is the position, `event` the name, `data` the event.
#[utoipa::path(
    get,
    path = "/api/v1/events/stream",
    operation_id = "streamEvents",
    tag = "events",
    params(
        ("Last-Event-ID" = Option<u64>, Header, minimum = 0, maximum = 9_000_000_000_000_000_u64, description = "Only events after this position; goes before `after`"),
        ("after" = Option<u64>, Query, minimum = 0, maximum = 9_000_000_000_000_000_u64, description = "Only events after this position; without it, only what is recorded from now on"),
        ("type" = Option<String>, Query, description = "Only events of this name", pattern = "^[A-Za-z0-9]{1,100}$"),
        ("stream" = Option<String>, Query, description = "Only events of this stream", pattern = "^[A-Za-z0-9-]{1,100}$"),
        ("actor" = Option<String>, Query, description = "Only events that this actor caused", pattern = "^[A-Za-z0-9-]{1,100}$"),
        ("operation" = Option<String>, Query, format = Uuid, description = "Only events of this operation"),
        ("since" = Option<String>, Query, format = DateTime, description = "Only events recorded then or later"),
        ("until" = Option<String>, Query, format = DateTime, description = "Only events recorded before"),
    ),
    responses(
        (status = 200, description = "The events, without end; the schema is that of each", body = ServerSentEvent, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is not valid, or the position is above the head of the log", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "An agent's token", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes text/event-stream", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The position is no longer kept", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Our database is away", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stream(
    State(app): State<App>,
    reader: Reader,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let mut parameters = Parameters::of(query.as_deref());
    let asked = parameters.text("after").map(|_| parameters.number("after", (0, POSITION_MAX), 0));
    let filter = filter(&mut parameters, &reader);
    let asked = last_event_id(&headers, &mut parameters).or(asked);
    let head = app.store.head().await?.position;
    if asked.is_some_and(|asked| asked > head) {
        parameters.refuse("Last-Event-ID", &format!("is above the head of the log, which is at {head}"));
    }
    parameters.done()?;
    let after = asked.unwrap_or(head);
    let first = app.store.log_page(0, 1).await?.first().map_or(1, |first| first.position);
    if after + 1 < first {
        let detail = format!("The log is kept from position {first} on; resume after {}.", first - 1);
        return Err(Failure::new(&codes::POSITION_GONE, detail));
    }
    let follower = Follower::new(app, reader, filter, after);
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(Sse::new(events).into_response())
}

/// The header that a client resumes with; empty is as good as none.
fn last_event_id(headers: &HeaderMap, parameters: &mut Parameters) -> Option<u64> {
    let value = headers.get("last-event-id")?;
    let text = value.to_str().unwrap_or("?");
    if text.is_empty() {
        return None;
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let position = text.parse().ok().filter(|position| is_plain && *position <= POSITION_MAX);
    if position.is_none() {
        parameters.refuse("Last-Event-ID", "must be a position of the log");
    }
    position
}

/// One client and how far it is.
struct Follower {
    app: App,
    reader: Reader,
    filter: EventFilter,
    /// Everything up to here was sent, or is not for this client.
    after: u64,
    waiting: VecDeque<Recorded>,
    /// What is recorded from now on; `None` while the client is being told what was recorded before.
    live: Option<Feed>,
    is_caught_up: bool,
    greeted: bool,
    comment_at: tokio::time::Instant,
}

impl Follower {
    fn new(app: App, reader: Reader, filter: EventFilter, after: u64) -> Self {
        Self {
            app,
            reader,
            filter,
            after,
            waiting: VecDeque::new(),
            live: None,
            is_caught_up: false,
            greeted: false,
            comment_at: tokio::time::Instant::now() + COMMENT,
        }
    }

    /// What is sent next; `None` ends the stream, and the client resumes where it was.
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            // A client that loses the connection before the first event resumes here all the same.
            return Some(Event::default().id(self.after.to_string()).comment("the log follows"));
        }
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.after = event.position;
                return shown(&event);
            }
            if !self.is_caught_up {
                match self.catch_up().await {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "a client's events could not be read; cut off");
                        return None;
                    }
                }
            }
            let Some(event) = self.wait().await? else {
                return self.is_still_allowed().await.then(|| Event::default().comment("still here"));
            };
            self.after = event.position;
            if self.filter.matches(&event) {
                return shown(&event);
            }
        }
    }

    /// Reads on. The feed is taken before the last read, so that nothing falls between the two.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let head = self.app.store.head().await?.position;
        let page = self.app.store.events(&self.filter, self.after, PAGE).await?;
        let is_last = u32::try_from(page.len()).is_ok_and(|length| length < PAGE);
        if is_last && self.live.is_some() {
            self.is_caught_up = true;
        } else if is_last {
            let live = tokio::select! {
                live = self.app.waiters.feed() => live,
                () = self.app.stop.cancelled() => return Err(StoreError::Closed),
            };
            self.live = Some(live);
        }
        let end = page.last().map_or(self.after, |last| last.position);
        if is_last {
            // All that passes the filter up to the head is in this page: the rest of it need not be looked at again.
            self.waiting.extend(page);
            if self.waiting.is_empty() {
                self.after = end.max(head);
            }
        } else {
            self.waiting.extend(page);
        }
        Ok(())
    }

    /// The next event that is recorded; `Some(None)` when a comment is due, `None` when the stream ends.
    async fn wait(&mut self) -> Option<Option<Arc<Recorded>>> {
        let Some(live) = &mut self.live else { return None };
        loop {
            let event = tokio::select! {
                event = live.recv() => event,
                () = tokio::time::sleep_until(self.comment_at) => {
                    self.comment_at = tokio::time::Instant::now() + COMMENT;
                    return Some(None);
                }
                () = self.app.stop.cancelled() => return None,
            };
            match event {
                Ok(event) if event.position <= self.after => {}
                Ok(event) => return Some(Some(event)),
                Err(RecvError::Lagged(events)) => {
                    shared::meter::event_stream_cut();
                    tracing::info!(events, "a client reads too slowly; it is cut off and can resume");
                    return None;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// A token that was revoked, or has expired, ends the stream.
    async fn is_still_allowed(&self) -> bool {
        self.reader.is_still_allowed(&self.app).await
    }
}

fn shown(event: &Recorded) -> Option<Event> {
    let shown = event.shown().ok()?;
    Event::default().id(shown.position.to_string()).event(&shown.event_type).json_data(&shown).ok()
}
