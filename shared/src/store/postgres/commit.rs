//! One transaction for a batch: lock the head, read what the batch touches, plan in memory, insert.
//!
//! The order of locks is the same everywhere, so that nobody waits in a circle: first the head, then rows of `jobs` in the
//! order of their ids. A claim waits for no row.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sqlx::{PgConnection, Row as _};
use tokio::time::timeout;

use super::{
    connections::too_late,
    insert,
    listen::{CHANNEL, News},
    rows, seals,
};
use crate::{
    clock::{from_micros, micros},
    commit::{Commit, KEY_KEPT_HOURS, KeyClaim, Then},
    envelope::StreamId,
    ids::{JobId, LeaseToken},
    store::{
        Head, LocalWorker, StoreError,
        plan::{Facts, plan},
        stored::{Tables, parse, parse_hash, signed, unsigned},
        writer::Written,
    },
};

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// The end of the transaction was never sent: nothing of it is stored.
    NotWritten(StoreError),
    /// The answer to its end did not come: it is stored, or not.
    Unknown(StoreError),
}

/// For a whole batch, the wait for the head of the log included; every statement of it has its own, shorter limit at the
/// server. Whoever waits is told this soon that the database is silent.
pub(super) const BATCH: Duration = Duration::from_secs(5);
/// For all of it but the end of the transaction: so much is left for that at least.
const WRITING: Duration = Duration::from_secs(4);

/// Writes a batch. After a failure the connection is in an unknown state.
pub(super) async fn write(
    connection: &mut PgConnection,
    batch: &[Commit],
    local: Option<&LocalWorker>,
    origin: &str,
) -> Result<Written, Failure> {
    let began = Instant::now();
    let writing = write_locked(connection, batch, local, origin);
    let written = timeout(WRITING, writing).await;
    let written = written.unwrap_or_else(|_| {
        Err(StoreError::doing("write a batch of commits")(too_late("no answer", WRITING)))
    });
    let written = written.map_err(Failure::NotWritten)?;
    let ended =
        timeout(BATCH.saturating_sub(began.elapsed()), sqlx::raw_sql("commit").execute(connection)).await;
    ended
        .unwrap_or_else(|_| Err(too_late("no answer", BATCH)))
        .map_err(StoreError::doing("make a batch of commits durable"))
        .map_err(Failure::Unknown)?;
    Ok(written)
}

/// When the jobs that a batch ends are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Before it is planned, which saves locking each of them first: if all that it does to jobs in the queue is to end
    /// them, and none of its outcomes is refused.
    First,
    /// After it was planned.
    Last,
}

impl Ends {
    fn of(batch: &[Commit]) -> Self {
        let only_ends = batch.iter().all(|commit| {
            let ends = commit.finish.as_ref().is_none_or(|finish| finish.then == Then::Delete);
            ends && commit.changed_jobs.is_empty()
        });
        if only_ends { Self::First } else { Self::Last }
    }
}

async fn write_locked(
    connection: &mut PgConnection,
    batch: &[Commit],
    local: Option<&LocalWorker>,
    origin: &str,
) -> Result<Written, StoreError> {
    if let Some(written) = try_write(connection, batch, local, (origin, Ends::of(batch))).await? {
        return Ok(written);
    }
    sqlx::raw_sql("rollback")
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing("write a batch of commits anew"))?;
    let written = try_write(connection, batch, local, (origin, Ends::Last)).await?;
    written.ok_or(StoreError::Unreadable { what: "queue", value: String::new() })
}

/// `None` if a job was deleted whose outcome is refused: it must stay.
async fn try_write(
    connection: &mut PgConnection,
    batch: &[Commit],
    local: Option<&LocalWorker>,
    (origin, ends): (&str, Ends),
) -> Result<Option<Written>, StoreError> {
    let head = lock_head(connection).await?;
    let mut facts = read_facts(connection, batch, head, local.is_some()).await?;
    let mut frees = false;
    match ends {
        Ends::First => (facts.leases, frees) = insert::end_first(connection, batch).await?,
        Ends::Last => facts.leases = lock_leases(connection, batch).await?,
    }
    let ended = facts.leases.len();
    let plan = plan(batch.to_vec(), facts, local);
    match ends {
        Ends::First if plan.done.len() != ended => return Ok(None),
        Ends::First => {}
        Ends::Last => frees = insert::end_deliveries(connection, &plan).await?,
    }
    insert::events(connection, &plan.events).await?;
    rows::upsert(connection, &plan.rows, Tables::Live).await?;
    insert::jobs(connection, &plan.jobs, local).await?;
    insert::keys(connection, &plan.keys).await?;
    insert::secrets(connection, &plan.secrets).await?;
    insert::credentials(connection, &plan.credentials).await?;
    seals::change_installation(connection, &plan.installation).await?;
    let wakes = frees || plan.jobs.len() > plan.handed_over.len();
    if plan.head != head || wakes {
        let position = if plan.head == head { 0 } else { plan.head.position };
        sqlx::query(
            "with moved as (update log_head set position = $1, hash = $2 where id = 1) select pg_notify($3, $4)",
        )
        .bind(signed(plan.head.position))
        .bind(plan.head.hash.0.to_vec())
        .bind(CHANNEL)
        .bind(News { position, wakes }.payload(origin))
        .execute(connection)
        .await
        .map_err(StoreError::doing("move the head of the log"))?;
    }
    Ok(Some(Written { plan, wakes }))
}

/// Begins the transaction and takes the lock that puts all commits of the fleet in one line, in one round trip.
async fn lock_head(connection: &mut PgConnection) -> Result<Head, StoreError> {
    let rows = sqlx::raw_sql("begin; select position, hash from log_head where id = 1 for update")
        .fetch_all(connection)
        .await
        .map_err(StoreError::doing("lock the head of the log"))?;
    head(rows.first())
}

/// The end of the log, from its row.
pub(super) fn head(row: Option<&sqlx::postgres::PgRow>) -> Result<Head, StoreError> {
    let row = row.ok_or(StoreError::Unreadable { what: "head of the log", value: String::new() })?;
    let hash: Vec<u8> = row.get(1);
    Ok(Head { position: unsigned(row.get(0)), hash: parse_hash(&hash)? })
}

async fn read_facts(
    connection: &mut PgConnection,
    batch: &[Commit],
    head: Head,
    may_hand_over: bool,
) -> Result<Facts, StoreError> {
    let failed = || StoreError::doing("read what a batch of commits touches");
    let mut facts = Facts { head, ..Facts::default() };
    let streams: Vec<&str> = batch.iter().map(|commit| commit.stream.as_str()).collect();
    let rows = sqlx::query(
        "select s.id, (select max(stream_version) from events e where e.stream_id = s.id) \
         from unnest($1::text[]) as s (id)",
    )
    .bind(streams)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed())?;
    for row in rows {
        if let Some(version) = row.get::<Option<i64>, _>(1) {
            facts.versions.insert(StreamId::stored(row.get(0)), unsigned(version));
        }
    }
    read_keys(connection, batch, &mut facts).await?;
    let keys: Vec<&str> =
        batch.iter().flat_map(|commit| &commit.jobs).map(|job| job.gateway_key.as_str()).collect();
    if may_hand_over && !keys.is_empty() {
        let rows = sqlx::query(
            "select distinct gateway_key from jobs where gateway_key = any($1) \
             union all select null from queue_pauses",
        )
        .bind(keys)
        .fetch_all(connection)
        .await
        .map_err(failed())?;
        let keys = rows.iter().map(|row| row.get::<Option<String>, _>(0));
        facts.is_paused = keys.clone().any(|key| key.is_none());
        facts.queued_keys = keys.flatten().collect();
    }
    Ok(facts)
}

/// The leases that the batch ends or changes. Locked until the outcome is written: one that has just run out is not taken
/// over under its outcome.
async fn lock_leases(
    connection: &mut PgConnection,
    batch: &[Commit],
) -> Result<HashMap<JobId, LeaseToken>, StoreError> {
    let finished = batch.iter().filter_map(|commit| commit.finish.as_ref()).map(|finish| finish.job);
    let changed = batch.iter().flat_map(|commit| &commit.changed_jobs).map(|change| change.job());
    let jobs: Vec<String> = finished.chain(changed).map(|job| job.to_string()).collect();
    if jobs.is_empty() {
        return Ok(HashMap::new());
    }
    sqlx::query(
        "select id, lease_token from jobs where id = any($1) and lease_token is not null order by id for update",
    )
    .bind(jobs)
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("read the leases that a batch of commits ends"))?
    .iter()
    .map(|row| Ok((parse("job id", row.get(0))?, parse("lease token", row.get(1))?)))
    .collect()
}

async fn read_keys(
    connection: &mut PgConnection,
    batch: &[Commit],
    facts: &mut Facts,
) -> Result<(), StoreError> {
    let keys: Vec<&KeyClaim> = batch.iter().filter_map(|commit| commit.key.as_ref()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(
        "select k.organization_id, k.route, k.key, k.fingerprint, k.operation_id, k.created_at \
         from idempotency_keys k join unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) \
             as w (organization_id, route, key, created_after) \
             on k.organization_id = w.organization_id and k.route = w.route and k.key = w.key \
         where k.created_at > w.created_after",
    )
    .bind(keys.iter().map(|key| key.organization.to_string()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.route.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.key.as_str()).collect::<Vec<_>>())
    .bind(
        keys.iter()
            .map(|key| micros(key.created_at - chrono::TimeDelta::hours(KEY_KEPT_HOURS)))
            .collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("look idempotency keys up"))?;
    for row in &rows {
        let claim = KeyClaim {
            organization: parse("organization id", row.get(0))?,
            route: row.get(1),
            key: row.get(2),
            fingerprint: row.get(3),
            operation: parse("operation id", row.get(4))?,
            created_at: from_micros(row.get(5)),
        };
        facts.keys.insert((claim.organization, claim.route.clone(), claim.key.clone()), claim);
    }
    Ok(())
}
