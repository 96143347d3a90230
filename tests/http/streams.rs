//! Streams that last: one on which nothing happens, and one whose reader does not keep up.

use std::time::{Duration, Instant};

use harness::world::World;
use reqwest::Response;
use shared::{
    clock::{Clock as _, SystemClock},
    commit::Commit,
    envelope::{Actor, Metadata, NewEvent, StreamId},
    ids::{EventId, GatewayId},
    watch::FEED_EVENTS_MAX,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{events::ask, home};

/// What fits between a server and a reader who does not read, at the most, with what is told: far more than the buffers
/// of two sockets.
const IN_BETWEEN: usize = 4_000;
const EVENTS_PER_COMMIT: u64 = 50;
/// Weight of an event.
const BYTES: usize = 4_000;

/// Longer than a server waits for a reader who takes nothing.
const UNREAD: Duration = Duration::from_secs(40);
/// Answers that do not fit between a server and a reader who does not read.
const ANSWERS: usize = 400;

async fn open(world: &World, after: u64) -> Response {
    let request = ask(world, "/api/v1/events/stream", &world.owner);
    let response = request.header("Last-Event-ID", after.to_string()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    response
}

/// Positions that are told until the stream ends, or until this one.
async fn read(mut response: Response, last: u64) -> Vec<u64> {
    let (mut ids, mut id, mut rest) = (vec![], 0, String::new());
    let reading = async {
        while let Some(chunk) = response.chunk().await.unwrap() {
            rest.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some(end) = rest.find('\n') {
                let line: String = rest.drain(..=end).collect();
                if let Some(told) = line.strip_prefix("id: ") {
                    id = told.trim().parse().unwrap();
                } else if line.starts_with("data: ") {
                    ids.push(id);
                }
            }
            if ids.last() == Some(&last) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reading).await.unwrap();
    ids
}

/// Appends heavy events, many at once.
async fn append(world: &World, events: u64) {
    let at = SystemClock.now();
    let metadata = Metadata::of(Actor::command_line());
    let event = || NewEvent {
        event_id: EventId::mint(at),
        event_type: "GatewayCreated".to_owned(),
        schema_version: 1,
        data: format!("{{\"filler\":\"{}\"}}", "x".repeat(BYTES)),
        metadata: serde_json::to_string(&metadata).unwrap(),
    };
    let stream = StreamId::from(GatewayId::mint(at));
    for version in (0..events).step_by(usize::try_from(EVENTS_PER_COMMIT).unwrap()) {
        let mut commit = Commit::new(stream.clone(), Some(world.organization), version, at);
        commit.events = (0..EVENTS_PER_COMMIT).map(|_| event()).collect();
        world.store.commit(commit).await.unwrap();
    }
}

#[tokio::test]
async fn a_reader_that_does_not_keep_up_is_cut_off_and_resumes_without_a_gap() {
    let home = home().await;
    let world = &home.world;
    let before = world.store.head().await.unwrap().position;
    let slow = open(world, before).await;
    let events = u64::try_from(FEED_EVENTS_MAX + IN_BETWEEN).unwrap();
    append(world, events).await;
    let head = world.store.head().await.unwrap().position;
    let told = read(slow, head).await;
    let cut = told.last().copied().unwrap_or(before);
    assert!(cut < head, "what waits for a reader who does not read has a bound");
    let resumed = read(open(world, cut).await, head).await;
    assert_eq!([told, resumed].concat(), (before + 1..=head).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_shows_that_it_lives() {
    let home = home().await;
    let head = home.world.store.head().await.unwrap().position;
    let started = Instant::now();
    let mut response = open(&home.world, head).await;
    let mut text = String::new();
    while !text.contains(": still here") {
        let chunk = tokio::time::timeout(Duration::from_secs(30), response.chunk()).await.unwrap();
        text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
    }
    // Every 15 s; the rest is for a machine that has other things to do.
    let waited = started.elapsed();
    assert!(waited > Duration::from_secs(10) && waited < Duration::from_secs(20), "{waited:?}");
}

/// Whether the connection ends before it has told everything, if nothing is read for a while.
async fn ends_unread(world: &World, unread: Duration) -> bool {
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    let asked = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(ANSWERS);
    socket.write_all(asked.as_bytes()).await.unwrap();
    tokio::time::sleep(unread).await;
    let (mut told, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match tokio::time::timeout(Duration::from_secs(10), socket.read(&mut buffer)).await.unwrap() {
            Err(_) | Ok(0) => return true,
            Ok(read) => {
                told += buffer[..read].windows(12).filter(|bytes| bytes == b"HTTP/1.1 200").count();
                if told >= ANSWERS - 1 {
                    return false;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_connection_of_which_nothing_is_read_ends() {
    let home = home().await;
    let world = &home.world;
    let (at_once, late) =
        tokio::join!(ends_unread(world, Duration::from_secs(1)), ends_unread(world, UNREAD));
    assert!(!at_once, "a reader who pauses is told everything");
    assert!(late, "a reader who takes nothing is left");
}
