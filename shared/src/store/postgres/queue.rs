//! Leases: who works on what, until when, by the clock of the database.
//!
//! At most one job per gateway key is leased in the whole fleet. A claim looks for keys without a leased job, but two
//! claims at once look at two snapshots, in which the first job of a key may differ; so the partial unique index on
//! `gateway_key` decides, and the claim that it refuses looks again. An advisory lock would decide too, but would make
//! every claim of the fleet wait for every other one, where here only two meet that want the same key at the same moment.

use std::time::Duration;

use sqlx::{Row as _, postgres::PgRow};

use super::{connections::Lines, listen::CHANNEL};
use crate::{
    clock::from_micros,
    ids::{JobId, LeaseToken},
    job::{Job, Kind, Lease},
    store::{
        Backlog, Claim, DUE_COUNTED_MAX, Pause, QueuedJob, StoreError,
        stored::{parse, small},
    },
};

/// Claims that the index refused are repeated this often; then the caller's timer does it.
const CLAIMS_MAX: u32 = 5;

/// Of each gateway key without a leased job the earliest, and the jobs whose lease ran out; `$5` holds the latter back.
/// A job of a newer program is left for a worker that knows it.
/// Rows that another claim, renewal or outcome has locked are passed over. Every subquery is one look into an index, so
/// that a long queue costs no more than a short one.
const CLAIM: &str = "with due as materialized ( \
         select j.id from jobs j \
         where coalesce(j.lease_until, j.run_at) <= queue_now() \
           and j.kind = any($6) \
           and not exists (select 1 from queue_pauses) \
           and case when j.lease_token is not null then $5 else \
               not exists (select 1 from jobs l where l.gateway_key = j.gateway_key and l.lease_token is not null) \
               and not exists (select 1 from jobs e where e.gateway_key = j.gateway_key and e.kind = any($6) \
                                                      and (e.run_at, e.id) < (j.run_at, j.id)) \
               end \
         order by coalesce(j.lease_until, j.run_at), j.id \
         limit $4 for update of j skip locked) \
     update jobs j set lease_token = $1, lease_until = queue_now() + $2 * interval '1 microsecond', worker_id = $3, \
                       lost_leases = j.lost_leases + (j.lease_token is not null)::int \
     from due where j.id = due.id \
     returning j.id, j.kind, j.gateway_id, j.operation_id, j.gateway_key, j.run_at, j.attempt, j.created_at, \
               j.traceparent, j.lost_leases";

/// Leases due jobs in one round trip. With `takes_over`, also those of workers whose lease ran out.
pub(super) async fn claim(lines: &Lines, claim: &Claim, takes_over: bool) -> Result<Vec<Lease>, StoreError> {
    let token = LeaseToken::mint(claim.now);
    let kinds = Kind::ALL.map(Kind::as_str);
    let statement = || {
        sqlx::query(CLAIM)
            .bind(token.to_string())
            .bind(micros(claim.lease))
            .bind(claim.worker.as_str())
            .bind(i64::from(claim.permits))
            .bind(takes_over)
            .bind(kinds)
    };
    let mut tried = 0;
    let rows = loop {
        tried += 1;
        match lines.try_fetch(statement).await {
            Err(error) if tried < CLAIMS_MAX && met_another(&error) => {}
            claimed => break claimed.map_err(StoreError::doing("lease jobs"))?,
        }
    };
    rows.iter().map(|row| Ok(Lease { job: job(row)?, token, lost_leases: small(row.get(9)) })).collect()
}

/// Another claim took a key first, or each of two waits for a key that the other has.
pub(super) fn met_another(error: &sqlx::Error) -> bool {
    let Some(refused) = error.as_database_error() else { return false };
    refused.is_unique_violation() || refused.code().is_some_and(|code| code == "40P01")
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn job(row: &PgRow) -> Result<Job, StoreError> {
    Ok(Job {
        id: parse("job id", row.get(0))?,
        kind: parse("job kind", row.get(1))?,
        gateway: parse("gateway id", row.get(2))?,
        operation: parse("operation id", row.get(3))?,
        gateway_key: row.get(4),
        run_at: row.get(5),
        attempt: small(row.get(6)),
        created_at: from_micros(row.get(7)),
        traceparent: row.get(8),
    })
}

fn columns(held: &[(JobId, LeaseToken)]) -> (Vec<String>, Vec<String>) {
    held.iter().map(|(job, token)| (job.to_string(), token.to_string())).unzip()
}

/// Renews what is still held. Rows are locked in the order of their ids, as outcomes lock them, so that none waits for
/// one that waits for it.
pub(super) async fn renew(
    lines: &Lines,
    held: &[(JobId, LeaseToken)],
    lease: Duration,
) -> Result<Vec<JobId>, StoreError> {
    let (jobs, tokens) = columns(held);
    let statement = || {
        sqlx::query(
            "with held as materialized ( \
                 select j.id from jobs j join unnest($1::text[], $2::text[]) as h (id, token) \
                     on h.id = j.id and h.token = j.lease_token \
                 order by j.id for update of j) \
             update jobs j set lease_until = queue_now() + $3 * interval '1 microsecond' \
             from held where j.id = held.id returning j.id",
        )
        .bind(&jobs)
        .bind(&tokens)
        .bind(micros(lease))
    };
    let rows = lines.fetch("renew leases", statement).await?;
    rows.iter().map(|row| parse("job id", row.get(0))).collect()
}

/// Hands leases back, and tells every worker: the jobs are due at once.
pub(super) async fn release(
    lines: &Lines,
    held: &[(JobId, LeaseToken)],
    origin: &str,
) -> Result<(), StoreError> {
    let (jobs, tokens) = columns(held);
    let statement = || {
        sqlx::query(
            "with held as materialized ( \
                 select j.id from jobs j join unnest($1::text[], $2::text[]) as h (id, token) \
                     on h.id = j.id and h.token = j.lease_token \
                 order by j.id for update of j), \
             freed as ( \
                 update jobs j set lease_token = null, lease_until = null, worker_id = null \
                 from held where j.id = held.id returning j.id) \
             select pg_notify($3, $4) where exists (select 1 from freed)",
        )
        .bind(&jobs)
        .bind(&tokens)
        .bind(CHANNEL)
        .bind(super::listen::News { position: 0, wakes: true }.payload(origin))
    };
    lines.fetch("hand leases back", statement).await.map(|_| ())
}

/// Whether the queue is paused, and by whom.
pub(super) async fn pause(lines: &Lines) -> Result<Option<Pause>, StoreError> {
    let statement = || sqlx::query("select since, paused_by, reason from queue_pauses");
    let rows = lines.fetch("tell whether the queue is paused", statement).await?;
    let pause = |row: &PgRow| Pause { since: from_micros(row.get(0)), by: row.get(1), reason: row.get(2) };
    Ok(rows.first().map(pause))
}

/// How much waits. The inner select is a walk along the index of due jobs that ends after so many.
pub(super) async fn backlog(lines: &Lines) -> Result<Backlog, StoreError> {
    let statement = || {
        sqlx::query(
            "select count(*), (extract(epoch from queue_now() - min(since)) * 1000000)::bigint, \
                    exists (select 1 from queue_pauses) \
             from (select greatest(lease_until, run_at) as since from jobs \
                   where coalesce(lease_until, run_at) <= queue_now() \
                   order by coalesce(lease_until, run_at), id limit $1) as due",
        )
        .bind(i64::from(DUE_COUNTED_MAX))
    };
    let rows = lines.fetch("tell how much waits in the queue", statement).await?;
    let row = rows.first().ok_or(StoreError::Unreadable { what: "queue", value: String::new() })?;
    let oldest: Option<i64> = row.get(1);
    Ok(Backlog {
        due: small(row.get(0)),
        oldest: Duration::from_micros(oldest.and_then(|micros| u64::try_from(micros).ok()).unwrap_or(0)),
        is_paused: row.get(2),
    })
}

/// How long it is until the next job is due; `None` too while the queue is paused.
pub(super) async fn due_in(lines: &Lines) -> Result<Option<Duration>, StoreError> {
    let statement = || {
        sqlx::query(
            "select (extract(epoch from coalesce(lease_until, run_at) - queue_now()) * 1000000)::bigint \
             from jobs where kind = any($1) and not exists (select 1 from queue_pauses) \
             order by coalesce(lease_until, run_at), id limit 1",
        )
        .bind(Kind::ALL.map(Kind::as_str))
    };
    let rows = lines.fetch("look for the next job", statement).await?;
    let micros: Option<i64> = rows.first().map(|row| row.get(0));
    Ok(micros.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
}

/// The whole queue, the earliest first.
pub(super) async fn jobs(lines: &Lines) -> Result<Vec<QueuedJob>, StoreError> {
    let statement = || {
        sqlx::query(
            "select id, kind, gateway_id, operation_id, gateway_key, run_at, attempt, created_at, traceparent, \
                    worker_id, lease_until from jobs order by run_at, id",
        )
    };
    let rows = lines.fetch("list jobs", statement).await?;
    rows.iter()
        .map(|row| {
            let worker: Option<String> = row.get(9);
            Ok(QueuedJob { job: job(row)?, leased: worker.zip(row.get(10)) })
        })
        .collect()
}
