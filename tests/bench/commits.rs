//! The store alone: commits of one event and one job, against plain inserts of the same.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use shared::{
    clock::{Clock as _, SystemClock},
    commit::Commit,
    envelope::{Actor, Hash, Metadata, NewEvent, Recorded, StreamId},
    ids::{EventId, GatewayId, JobId, OperationId, OrganizationId},
    job::{Job, Kind},
    store::Store,
};
use sqlx::{PgPool, SqlitePool, postgres::PgPoolOptions, sqlite};

use crate::numbers::{Times, float, repeat, rounds};

/// What a registration's first event weighs.
const DATA_BYTES: usize = 700;

fn event(at: DateTime<Utc>) -> NewEvent {
    let metadata = Metadata { operation: Some(OperationId::mint(at)), ..Metadata::of(Actor::command_line()) };
    NewEvent {
        event_id: EventId::mint(at),
        event_type: "GatewayRequested".to_owned(),
        schema_version: 1,
        data: format!("{{\"filler\":\"{}\"}}", "x".repeat(DATA_BYTES)),
        metadata: serde_json::to_string(&metadata).expect("metadata is JSON"),
    }
}

/// A job that nobody runs in the next hour.
pub(crate) fn job(gateway: GatewayId, kind: Kind, at: DateTime<Utc>, run_at: DateTime<Utc>) -> Job {
    Job {
        id: JobId::mint(at),
        kind,
        gateway,
        operation: OperationId::mint(at),
        gateway_key: format!("bench:{gateway}"),
        run_at,
        attempt: 1,
        created_at: at,
        traceparent: None,
    }
}

/// A first event and its job.
fn commit() -> Commit {
    let at = SystemClock.now();
    let gateway = GatewayId::mint(at);
    let mut commit = Commit::new(StreamId::from(gateway), Some(OrganizationId::mint(at)), 0, at);
    commit.events.push(event(at));
    commit.jobs.push(job(gateway, Kind::ProvisionGateway, at, at + chrono::TimeDelta::hours(1)));
    commit
}

/// Ordered, chained, notified, grouped: the product's.
pub(crate) async fn ours(store: &Arc<dyn Store>, writers: usize, time: Duration) -> Times {
    repeat(writers, time, |_| {
        let store = Arc::clone(store);
        async move {
            rounds(time, |_| async {
                store.commit(commit()).await.expect("a commit is taken");
            })
            .await
        }
    })
    .await
}

const TABLES: &str = "create table plain_events (id text primary key, stream text, type text, data text, \
                      metadata text, at bigint); \
                      create table plain_jobs (id text primary key, kind text, gateway text, run_at bigint)";

/// How the plain commands write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Begin, insert, insert, commit.
    Transaction,
    /// Both inserts in one statement: what nobody writes, and nothing is cheaper.
    OneStatement,
}

/// Unordered inserts on PostgreSQL, each command for itself on a connection of its own.
pub(crate) async fn plain_postgres(url: &str, writers: usize, time: Duration, how: Plain) -> Times {
    let most = u32::try_from(writers).unwrap_or(1);
    let pool = PgPoolOptions::new().max_connections(most).min_connections(most).connect(url).await;
    let pool = pool.expect("the database is there");
    if sqlx::raw_sql("select 1 from plain_events limit 1").execute(&pool).await.is_err() {
        sqlx::raw_sql(TABLES).execute(&pool).await.expect("tables can be made");
    }
    let times = repeat(writers, time, |_| {
        let pool = pool.clone();
        async move { rounds(time, |_| plain_postgres_once(&pool, how)).await }
    })
    .await;
    pool.close().await;
    times
}

async fn plain_postgres_once(pool: &PgPool, how: Plain) {
    let commit = commit();
    let (event, job) = (&commit.events[0], &commit.jobs[0]);
    let (events, jobs) = (
        "insert into plain_events values ($1, $2, $3, $4, $5, $6)",
        "insert into plain_jobs values ($7, $8, $2, $6)",
    );
    let at = commit.recorded_at.timestamp_micros();
    if how == Plain::OneStatement {
        let both = format!("with event as ({events}) {jobs}");
        let insert = sqlx::query(sqlx::AssertSqlSafe(both))
            .bind(event.event_id.to_string())
            .bind(commit.stream.as_str())
            .bind(&event.event_type)
            .bind(&event.data)
            .bind(&event.metadata)
            .bind(at)
            .bind(job.id.to_string())
            .bind(job.kind.as_str());
        insert.execute(pool).await.expect("a row is inserted");
        return;
    }
    let mut tx = pool.begin().await.expect("a connection");
    let insert = sqlx::query(events)
        .bind(event.event_id.to_string())
        .bind(commit.stream.as_str())
        .bind(&event.event_type)
        .bind(&event.data)
        .bind(&event.metadata)
        .bind(at);
    insert.execute(&mut *tx).await.expect("a row is inserted");
    let insert = sqlx::query("insert into plain_jobs values ($1, $2, $3, $4)")
        .bind(job.id.to_string())
        .bind(job.kind.as_str())
        .bind(commit.stream.as_str())
        .bind(at);
    insert.execute(&mut *tx).await.expect("a row is inserted");
    tx.commit().await.expect("it can be committed");
}

/// The same on SQLite, which has one writer: who waits for it waits outside of the database, where that is cheapest.
pub(crate) async fn plain_sqlite(folder: &Path, writers: usize, time: Duration) -> Times {
    let options = sqlite::SqliteConnectOptions::new()
        .filename(folder.join("plain.db"))
        .create_if_missing(true)
        .journal_mode(sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlite::SqliteSynchronous::Full);
    let pool = sqlite::SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(time * 2)
        .connect_with(options)
        .await
        .expect("a new file");
    if sqlx::raw_sql("select 1 from plain_events limit 1").execute(&pool).await.is_err() {
        sqlx::raw_sql(TABLES).execute(&pool).await.expect("tables can be made");
    }
    let times = repeat(writers, time, |_| {
        let pool = pool.clone();
        async move { rounds(time, |_| plain_sqlite_once(&pool)).await }
    })
    .await;
    pool.close().await;
    times
}

async fn plain_sqlite_once(pool: &SqlitePool) {
    let commit = commit();
    let (event, job) = (&commit.events[0], &commit.jobs[0]);
    let at = commit.recorded_at.timestamp_micros();
    let mut tx = pool.begin_with("begin immediate").await.expect("a connection");
    let insert = sqlx::query("insert into plain_events values (?, ?, ?, ?, ?, ?)")
        .bind(event.event_id.to_string())
        .bind(commit.stream.as_str())
        .bind(&event.event_type)
        .bind(&event.data)
        .bind(&event.metadata)
        .bind(at);
    insert.execute(&mut *tx).await.expect("a row is inserted");
    let insert = sqlx::query("insert into plain_jobs values (?, ?, ?, ?)")
        .bind(job.id.to_string())
        .bind(job.kind.as_str())
        .bind(commit.stream.as_str())
        .bind(at);
    insert.execute(&mut *tx).await.expect("a row is inserted");
    tx.commit().await.expect("it can be committed");
}

/// Seconds that one link of the chain takes, for an event of the size that is committed here.
pub(crate) fn seconds_per_link() -> f64 {
    const LINKS: usize = 20_000;
    let at = SystemClock.now();
    let event = event(at);
    let mut recorded = Recorded {
        position: 1,
        event_id: event.event_id,
        stream: StreamId::from(GatewayId::mint(at)),
        version: 1,
        event_type: event.event_type,
        schema_version: 1,
        organization: Some(OrganizationId::mint(at)),
        data: event.data,
        metadata: event.metadata,
        recorded_at: at,
        hash: Hash::default(),
    };
    let started = Instant::now();
    for _ in 0..LINKS {
        recorded.position += 1;
        recorded.hash = std::hint::black_box(&recorded).hash_after(recorded.hash);
    }
    started.elapsed().as_secs_f64() / float(LINKS)
}
