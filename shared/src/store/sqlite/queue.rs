//! Leases: who works on what, until when.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Row as _, SqliteConnection, SqliteExecutor, SqlitePool, sqlite::SqliteRow};

use crate::{
    clock::{from_micros, micros},
    ids::{JobId, LeaseToken},
    job::{Job, Kind, Lease},
    store::{
        Backlog, Claim, DUE_COUNTED_MAX, Pause, QueuedJob, StoreError,
        stored::{parse, small},
    },
};

/// Of each gateway key without a leased job the earliest, and the jobs whose lease ran out: those go before their
/// gateway's other jobs. A job of a newer program is left for a worker that knows it, and a lease that one lost keeps
/// nobody up. Every subquery is one look into an index, so that a long queue costs no more than a short one.
const CLAIM: &str = "update jobs set lease_token = ?1, lease_until = ?2, worker_id = ?3, \
                    lost_leases = lost_leases + (lease_token is not null) \
     where rowid in ( \
         select j.rowid from jobs j \
         where coalesce(j.lease_until, j.run_at) <= ?4 \
           and j.kind in (select value from json_each(?6)) \
           and not exists (select 1 from queue_pauses) \
           and not exists ( \
               select 1 from jobs l where l.gateway_key = j.gateway_key and l.lease_token is not null and l.id <> j.id \
                   and (l.lease_until > ?4 \
                        or j.lease_token is null and l.kind in (select value from json_each(?6)))) \
           and (j.lease_token is not null or not exists ( \
               select 1 from jobs e where e.gateway_key = j.gateway_key and (e.run_at, e.id) < (j.run_at, j.id) \
                   and e.kind in (select value from json_each(?6)))) \
         order by coalesce(j.lease_until, j.run_at), j.id limit ?5) \
     returning id, kind, gateway_id, operation_id, gateway_key, run_at, attempt, created_at, traceparent, lost_leases";

/// Leases due jobs in one statement.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    claim: &Claim,
) -> Result<Vec<Lease>, StoreError> {
    let token = LeaseToken::mint(claim.now);
    let rows = sqlx::query(CLAIM)
        .bind(token.to_string())
        .bind(micros(claim.now + claim.lease))
        .bind(&claim.worker)
        .bind(micros(claim.now))
        .bind(i64::from(claim.permits))
        .bind(known_kinds())
        .fetch_all(connection)
        .await
        .map_err(StoreError::doing("claim jobs"))?;
    rows.iter().map(|row| Ok(Lease { job: job(row)?, token, lost_leases: small(row.get(9)) })).collect()
}

/// A job of a newer program is left for a worker that knows it.
fn known_kinds() -> String {
    serde_json::json!(Kind::ALL.map(Kind::as_str)).to_string()
}

fn job(row: &SqliteRow) -> Result<Job, StoreError> {
    Ok(Job {
        id: parse("job id", row.get(0))?,
        kind: parse("job kind", row.get(1))?,
        gateway: parse("gateway id", row.get(2))?,
        operation: parse("operation id", row.get(3))?,
        gateway_key: row.get(4),
        run_at: from_micros(row.get(5)),
        attempt: small(row.get(6)),
        created_at: from_micros(row.get(7)),
        traceparent: row.get(8),
    })
}

fn pairs(held: &[(JobId, LeaseToken)]) -> String {
    let pairs: Vec<String> = held.iter().map(|(job, token)| format!("{job}/{token}")).collect();
    serde_json::Value::from(pairs).to_string()
}

/// Renews what is still held.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    held: &[(JobId, LeaseToken)],
    lease: Duration,
    now: DateTime<Utc>,
) -> Result<Vec<JobId>, StoreError> {
    let rows: Vec<String> = sqlx::query_scalar(
        "update jobs set lease_until = ? where id || '/' || lease_token in (select value from json_each(?)) \
         and id in (select substr(value, 1, 36) from json_each(?2)) returning id",
    )
    .bind(micros(now + lease))
    .bind(pairs(held))
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("renew leases"))?;
    rows.into_iter().map(|id| parse("job id", id)).collect()
}

/// Hands leases back; the jobs are due at once.
pub(super) async fn release(
    connection: &mut SqliteConnection,
    held: &[(JobId, LeaseToken)],
) -> Result<(), StoreError> {
    sqlx::query(
        "update jobs set lease_token = null, lease_until = null, worker_id = null \
         where id || '/' || lease_token in (select value from json_each(?)) \
         and id in (select substr(value, 1, 36) from json_each(?1))",
    )
    .bind(pairs(held))
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(StoreError::doing("hand leases back"))
}

/// Ends every lease at once; each job whose worker was lost counts it.
pub(super) async fn void_leases(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    sqlx::query("update jobs set lease_until = 0 where lease_token is not null")
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(StoreError::doing("void leases"))
}

/// Whether the queue is paused, and by whom.
pub(super) async fn pause(executor: impl SqliteExecutor<'_>) -> Result<Option<Pause>, StoreError> {
    let row = sqlx::query("select since, paused_by, reason from queue_pauses")
        .fetch_optional(executor)
        .await
        .map_err(StoreError::doing("tell whether the queue is paused"))?;
    Ok(row.map(|row| Pause { since: from_micros(row.get(0)), by: row.get(1), reason: row.get(2) }))
}

/// How much waits. The inner select is a walk along the index of due jobs that ends after so many.
pub(super) async fn backlog(pool: &SqlitePool, now: DateTime<Utc>) -> Result<Backlog, StoreError> {
    let row = sqlx::query(
        "select count(*), min(since), (select count(*) from queue_pauses) from ( \
             select max(coalesce(lease_until, run_at), run_at) as since from jobs \
             where coalesce(lease_until, run_at) <= ?1 order by coalesce(lease_until, run_at) limit ?2)",
    )
    .bind(micros(now))
    .bind(DUE_COUNTED_MAX)
    .fetch_one(pool)
    .await
    .map_err(StoreError::doing("tell how much waits in the queue"))?;
    let oldest: Option<i64> = row.get(1);
    Ok(Backlog {
        due: small(row.get(0)),
        oldest: oldest.and_then(|since| (now - from_micros(since)).to_std().ok()).unwrap_or_default(),
        is_paused: row.get::<i64, _>(2) > 0,
    })
}

/// How long it is until the next job is due; `None` too while the queue is paused.
pub(super) async fn due_in(pool: &SqlitePool, now: DateTime<Utc>) -> Result<Option<Duration>, StoreError> {
    let due: Option<i64> = sqlx::query_scalar(
        "select coalesce(lease_until, run_at) from jobs where kind in (select value from json_each(?)) \
         and not exists (select 1 from queue_pauses) order by coalesce(lease_until, run_at), id limit 1",
    )
    .bind(known_kinds())
    .fetch_optional(pool)
    .await
    .map_err(StoreError::doing("look for the next job"))?;
    Ok(due.map(|due| (from_micros(due) - now).to_std().unwrap_or_default()))
}

/// The whole queue, the earliest first.
pub(super) async fn jobs(pool: &SqlitePool) -> Result<Vec<QueuedJob>, StoreError> {
    let rows = sqlx::query(
        "select id, kind, gateway_id, operation_id, gateway_key, run_at, attempt, created_at, traceparent, \
                worker_id, lease_until from jobs order by run_at, id",
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::doing("list jobs"))?;
    rows.iter()
        .map(|row| {
            let leased: Option<(String, i64)> = row.get::<Option<String>, _>(9).zip(row.get(10));
            Ok(QueuedJob {
                job: job(row)?,
                leased: leased.map(|(worker, until)| (worker, from_micros(until))),
            })
        })
        .collect()
}
