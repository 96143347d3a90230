//! What a batch writes: one statement per table, however many rows, and always the same text.

use std::collections::HashMap;

use sqlx::{PgConnection, Row as _};

use crate::{
    clock::micros,
    commit::{Commit, CredentialChange, KEY_KEPT_HOURS, KeyClaim, Sealed, SecretChange},
    envelope::Recorded,
    ids::{JobId, LeaseToken},
    store::{
        LocalWorker, StoreError,
        plan::{JobInsert, Plan},
        stored::{parse, signed},
    },
};

/// One value of each item, as an array.
pub(super) fn column<'a, I, T>(items: &'a [I], value: impl Fn(&'a I) -> T) -> Vec<T> {
    items.iter().map(value).collect()
}

pub(super) async fn events(connection: &mut PgConnection, events: &[Recorded]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into events (position, event_id, stream_id, stream_version, event_type, schema_version, \
                             organization_id, data, metadata, recorded_at, hash) \
         select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], \
                              $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bytea[])",
    )
    .bind(column(events, |event| signed(event.position)))
    .bind(column(events, |event| event.event_id.to_string()))
    .bind(column(events, |event| event.stream.as_str()))
    .bind(column(events, |event| signed(event.version)))
    .bind(column(events, |event| event.event_type.as_str()))
    .bind(column(events, |event| i64::from(event.schema_version)))
    .bind(column(events, |event| event.organization.map(|id| id.to_string())))
    .bind(column(events, |event| event.data.as_str()))
    .bind(column(events, |event| event.metadata.as_str()))
    .bind(column(events, |event| micros(event.recorded_at)))
    .bind(column(events, |event| event.hash.0.to_vec()))
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(StoreError::doing("append events"))
}

/// Due as long after now, by this clock, as they were after their decision, by the decider's.
pub(super) async fn jobs(
    connection: &mut PgConnection,
    jobs: &[JobInsert],
    local: Option<&LocalWorker>,
) -> Result<(), StoreError> {
    if jobs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into jobs (id, kind, gateway_id, operation_id, gateway_key, run_at, attempt, created_at, \
                           traceparent, lease_token, lease_until, worker_id) \
         select n.id, n.kind, n.gateway_id, n.operation_id, n.gateway_key, \
                queue_now() + n.delay * interval '1 microsecond', n.attempt, n.created_at, n.traceparent, \
                n.lease_token, \
                case when n.lease_token is not null then queue_now() + $11 * interval '1 microsecond' end, \
                case when n.lease_token is not null then $12 end \
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], \
                     $8::bigint[], $9::text[], $10::text[]) \
             as n (id, kind, gateway_id, operation_id, gateway_key, delay, attempt, created_at, traceparent, \
                   lease_token)",
    )
    .bind(column(jobs, |insert| insert.job.id.to_string()))
    .bind(column(jobs, |insert| insert.job.kind.as_str()))
    .bind(column(jobs, |insert| insert.job.gateway.to_string()))
    .bind(column(jobs, |insert| insert.job.operation.to_string()))
    .bind(column(jobs, |insert| insert.job.gateway_key.as_str()))
    .bind(column(jobs, |insert| in_micros(insert.delay)))
    .bind(column(jobs, |insert| i64::from(insert.job.attempt)))
    .bind(column(jobs, |insert| micros(insert.job.created_at)))
    .bind(column(jobs, |insert| insert.job.traceparent.as_deref()))
    .bind(column(jobs, |insert| insert.leased.map(|token| token.to_string())))
    .bind(local.map_or(0, |local| in_micros(local.lease)))
    .bind(local.map(|local| local.worker.as_str()))
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(StoreError::doing("enqueue jobs"))
}

fn in_micros(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Deletes the jobs that the batch ends, each fenced by its lease, in the order of their ids as everywhere. Returns the
/// leases that were there, and whether a job waited for the gateway key of one of them.
pub(super) async fn end_first(
    connection: &mut PgConnection,
    batch: &[Commit],
) -> Result<(HashMap<JobId, LeaseToken>, bool), StoreError> {
    let mut ends: Vec<(String, String)> = batch
        .iter()
        .filter_map(|commit| commit.finish.as_ref())
        .map(|finish| (finish.job.to_string(), finish.token.to_string()))
        .collect();
    if ends.is_empty() {
        return Ok((HashMap::new(), false));
    }
    ends.sort_unstable();
    let (jobs, tokens): (Vec<String>, Vec<String>) = ends.into_iter().unzip();
    let rows = sqlx::query(
        "with gone as ( \
             delete from jobs j using unnest($1::text[], $2::text[]) as e (id, token) \
             where j.id = e.id and j.lease_token = e.token returning j.id, j.lease_token, j.gateway_key) \
         select id, lease_token, \
                exists (select 1 from jobs j where j.gateway_key = gone.gateway_key and j.id <> gone.id) from gone",
    )
    .bind(jobs)
    .bind(tokens)
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("end jobs"))?;
    let frees = rows.iter().any(|row| row.get(2));
    let leases = rows
        .iter()
        .map(|row| Ok((parse("job id", row.get(0))?, parse("lease token", row.get(1))?)))
        .collect::<Result<_, StoreError>>()?;
    Ok((leases, frees))
}

/// Deletes what is done and reschedules what runs again. Returns whether a worker may find a job for it: one that runs
/// again, or one that waited for the gateway key of one that ended.
pub(super) async fn end_deliveries(connection: &mut PgConnection, plan: &Plan) -> Result<bool, StoreError> {
    let mut frees = !plan.again.is_empty();
    if !plan.done.is_empty() {
        let row = sqlx::query(
            "with gone as (delete from jobs where id = any($1) returning id, gateway_key) \
             select exists (select 1 from jobs j join gone using (gateway_key) where j.id <> gone.id and j.id <> all ($1))",
        )
        .bind(column(&plan.done, ToString::to_string))
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::doing("end jobs"))?;
        frees |= row.get::<bool, _>(0);
    }
    if !plan.again.is_empty() {
        sqlx::query(
            "update jobs j set run_at = queue_now() + a.delay * interval '1 microsecond', attempt = a.attempt, \
                               lease_token = null, lease_until = null, worker_id = null \
             from unnest($1::text[], $2::bigint[], $3::bigint[]) as a (id, delay, attempt) where j.id = a.id",
        )
        .bind(column(&plan.again, |again| again.job.to_string()))
        .bind(column(&plan.again, |again| in_micros(again.delay)))
        .bind(column(&plan.again, |again| i64::from(again.attempt)))
        .execute(connection)
        .await
        .map_err(StoreError::doing("reschedule jobs"))?;
    }
    Ok(frees)
}

pub(super) async fn keys(connection: &mut PgConnection, keys: &[KeyClaim]) -> Result<(), StoreError> {
    // The last claim of a key stands, if a batch should hold two that are a day apart.
    let last: HashMap<_, &KeyClaim> =
        keys.iter().map(|key| ((key.organization, key.route.as_str(), key.key.as_str()), key)).collect();
    let keys: Vec<&KeyClaim> = last.into_values().collect();
    let Some(newest) = keys.iter().map(|key| key.created_at).max() else { return Ok(()) };
    // Only an expired row can be there, for a kept one refuses the commit.
    sqlx::query(
        "insert into idempotency_keys (organization_id, route, key, fingerprint, operation_id, created_at) \
         select * from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::bigint[]) \
         on conflict (organization_id, route, key) do update set \
             fingerprint = excluded.fingerprint, operation_id = excluded.operation_id, \
             created_at = excluded.created_at",
    )
    .bind(column(&keys, |key| key.organization.to_string()))
    .bind(column(&keys, |key| key.route.as_str()))
    .bind(column(&keys, |key| key.key.as_str()))
    .bind(column(&keys, |key| key.fingerprint.as_slice()))
    .bind(column(&keys, |key| key.operation.to_string()))
    .bind(column(&keys, |key| micros(key.created_at)))
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing("keep idempotency keys"))?;
    sqlx::query("delete from idempotency_keys where created_at <= $1")
        .bind(micros(newest - chrono::TimeDelta::hours(KEY_KEPT_HOURS)))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(StoreError::doing("forget expired idempotency keys"))
}

/// The last change of each owner is what stands.
pub(super) async fn secrets(
    connection: &mut PgConnection,
    changes: &[SecretChange],
) -> Result<(), StoreError> {
    let mut last: HashMap<&str, Option<&Sealed>> = HashMap::new();
    for change in changes {
        match change {
            SecretChange::Put { owner, sealed } => last.insert(owner, Some(sealed)),
            SecretChange::Erase { owner } => last.insert(owner, None),
        };
    }
    let put: Vec<(&str, &Sealed)> =
        last.iter().filter_map(|(owner, sealed)| sealed.map(|sealed| (*owner, sealed))).collect();
    let erased: Vec<&str> =
        last.iter().filter(|(_, sealed)| sealed.is_none()).map(|(owner, _)| *owner).collect();
    if !put.is_empty() {
        sqlx::query(
            "insert into secrets (owner, key_id, nonce, ciphertext) \
             select * from unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[]) on conflict (owner) do update \
             set key_id = excluded.key_id, nonce = excluded.nonce, ciphertext = excluded.ciphertext",
        )
        .bind(column(&put, |(owner, _)| *owner))
        .bind(column(&put, |(_, sealed)| sealed.key_id.as_str()))
        .bind(column(&put, |(_, sealed)| sealed.nonce.as_slice()))
        .bind(column(&put, |(_, sealed)| sealed.ciphertext.as_slice()))
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing("keep sealed secrets"))?;
    }
    if !erased.is_empty() {
        sqlx::query("delete from secrets where owner = any($1)")
            .bind(erased)
            .execute(connection)
            .await
            .map_err(StoreError::doing("erase sealed secrets"))?;
    }
    Ok(())
}

/// What a later change of the batch erases is not put; the rest is put after everything was erased.
pub(super) async fn credentials(
    connection: &mut PgConnection,
    changes: &[CredentialChange],
) -> Result<(), StoreError> {
    let mut put: Vec<(&[u8], &str)> = vec![];
    let mut erased: Vec<&str> = vec![];
    for change in changes {
        match change {
            CredentialChange::Put { hash, subject } => put.push((hash, subject)),
            CredentialChange::Erase { subject } => {
                put.retain(|(_, kept)| kept != subject);
                erased.push(subject);
            }
        }
    }
    if !erased.is_empty() {
        sqlx::query("delete from credentials where subject = any($1)")
            .bind(erased)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::doing("forget token hashes"))?;
    }
    if !put.is_empty() {
        sqlx::query(
            "insert into credentials (hash, subject) select * from unnest($1::bytea[], $2::text[]) \
             on conflict (hash) do nothing",
        )
        .bind(column(&put, |(hash, _)| *hash))
        .bind(column(&put, |(_, subject)| *subject))
        .execute(connection)
        .await
        .map_err(StoreError::doing("keep token hashes"))?;
    }
    Ok(())
}
