//! One transaction for a batch: lock and read, plan in memory, insert.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{parts::parts, queue, rows, seals, views};
use crate::{
    clock::micros,
    commit::{Commit, CredentialChange, KeyClaim, SecretChange},
    envelope::{Recorded, StreamId},
    store::{
        Head, LocalWorker, StoreError,
        plan::{Again, Facts, JobInsert, Plan, plan},
        stored::{Tables, parse, parse_hash, signed, unsigned},
    },
};

/// Writes a batch. On an error nothing is written.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    batch: &[Commit],
    local: Option<&LocalWorker>,
) -> Result<Plan, StoreError> {
    // IMMEDIATE takes the write lock before anything is read: the head cannot move under the plan.
    let failed = || StoreError::doing("write a batch of commits");
    sqlx::query("begin immediate").execute(&mut *connection).await.map_err(failed())?;
    let written = write_locked(connection, batch, local).await;
    let end = if written.is_ok() { "commit" } else { "rollback" };
    let ended = sqlx::query(end).execute(&mut *connection).await;
    if ended.is_err() && written.is_ok() {
        let _ = sqlx::query("rollback").execute(&mut *connection).await;
    }
    let plan = written?;
    ended.map_err(failed())?;
    Ok(plan)
}

async fn write_locked(
    connection: &mut SqliteConnection,
    batch: &[Commit],
    local: Option<&LocalWorker>,
) -> Result<Plan, StoreError> {
    let facts = read_facts(connection, batch).await?;
    let head = facts.head;
    let plan = plan(batch.to_vec(), facts, local);
    insert_events(connection, &plan.events).await?;
    rows::upsert(connection, &plan.rows, Tables::Live).await?;
    insert_jobs(connection, &plan.jobs, local).await?;
    end_deliveries(connection, &plan).await?;
    insert_keys(connection, &plan.keys).await?;
    change_secrets(connection, &plan.secrets).await?;
    change_credentials(connection, &plan.credentials).await?;
    seals::change_installation(connection, &plan.installation).await?;
    if plan.head != head {
        sqlx::query("update log_head set position = ?, hash = ? where id = 1")
            .bind(signed(plan.head.position))
            .bind(plan.head.hash.0.to_vec())
            .execute(connection)
            .await
            .map_err(StoreError::doing("move the head of the log"))?;
    }
    Ok(plan)
}

/// Reads the end of the log.
pub(super) async fn read_head(connection: &mut SqliteConnection) -> Result<Head, StoreError> {
    let row = sqlx::query("select position, hash from log_head where id = 1")
        .fetch_one(connection)
        .await
        .map_err(StoreError::doing("read the head of the log"))?;
    let hash: Vec<u8> = row.get(1);
    Ok(Head { position: unsigned(row.get(0)), hash: parse_hash(&hash)? })
}

fn json(list: &[String]) -> String {
    serde_json::Value::from(list.to_vec()).to_string()
}

async fn read_facts(connection: &mut SqliteConnection, batch: &[Commit]) -> Result<Facts, StoreError> {
    let failed = || StoreError::doing("read what a batch of commits touches");
    let mut facts = Facts { head: read_head(connection).await?, ..Facts::default() };
    let streams: Vec<String> = batch.iter().map(|commit| commit.stream.to_string()).collect();
    let rows = sqlx::query(
        "select s.value, (select max(stream_version) from events where stream_id = s.value) from json_each(?) s",
    )
    .bind(json(&streams))
    .fetch_all(&mut *connection)
    .await
    .map_err(failed())?;
    for row in rows {
        if let Some(version) = row.get::<Option<i64>, _>(1) {
            facts.versions.insert(StreamId::stored(row.get(0)), unsigned(version));
        }
    }
    for key in batch.iter().filter_map(|commit| commit.key.as_ref()) {
        let id = (key.organization, key.route.as_str(), key.key.as_str());
        if let Some(taken) = views::key(&mut *connection, id, key.created_at).await? {
            facts.keys.insert((key.organization, key.route.clone(), key.key.clone()), taken);
        }
    }
    let finished = batch.iter().filter_map(|commit| commit.finish.as_ref()).map(|finish| finish.job);
    let changed = batch.iter().flat_map(|commit| &commit.changed_jobs).map(|change| change.job());
    let jobs: Vec<String> = finished.chain(changed).map(|job| job.to_string()).collect();
    if !jobs.is_empty() {
        let rows = sqlx::query(
            "select id, lease_token from jobs where id in (select value from json_each(?)) and lease_token is not null",
        )
        .bind(json(&jobs))
        .fetch_all(&mut *connection)
        .await
        .map_err(failed())?;
        facts.leases = rows
            .into_iter()
            .map(|row| Ok((parse("job id", row.get(0))?, parse("lease token", row.get(1))?)))
            .collect::<Result<HashMap<_, _>, StoreError>>()?;
    }
    let keys: Vec<String> =
        batch.iter().flat_map(|commit| &commit.jobs).map(|job| job.gateway_key.clone()).collect();
    if !keys.is_empty() {
        let rows = sqlx::query(
            "select value from json_each(?) where exists (select 1 from jobs where gateway_key = value)",
        )
        .bind(json(&keys))
        .fetch_all(&mut *connection)
        .await
        .map_err(failed())?;
        facts.is_paused = queue::pause(connection).await?.is_some();
        facts.queued_keys = rows.into_iter().map(|row| row.get(0)).collect();
    }
    Ok(facts)
}

async fn insert_events(connection: &mut SqliteConnection, events: &[Recorded]) -> Result<(), StoreError> {
    for chunk in parts(events) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "insert into events (position, event_id, stream_id, stream_version, event_type, schema_version, \
             organization_id, data, metadata, recorded_at, hash) ",
        );
        query.push_values(chunk, |mut row, event| {
            row.push_bind(signed(event.position))
                .push_bind(event.event_id.to_string())
                .push_bind(event.stream.to_string())
                .push_bind(signed(event.version))
                .push_bind(event.event_type.clone())
                .push_bind(i64::from(event.schema_version))
                .push_bind(event.organization.map(|id| id.to_string()))
                .push_bind(event.data.clone())
                .push_bind(event.metadata.clone())
                .push_bind(micros(event.recorded_at))
                .push_bind(event.hash.0.to_vec());
        });
        query.build().execute(&mut *connection).await.map_err(StoreError::doing("append events"))?;
    }
    Ok(())
}

async fn insert_jobs(
    connection: &mut SqliteConnection,
    jobs: &[JobInsert],
    local: Option<&LocalWorker>,
) -> Result<(), StoreError> {
    for chunk in parts(jobs) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "insert into jobs (id, kind, gateway_id, operation_id, gateway_key, run_at, attempt, created_at, \
             traceparent, lease_token, lease_until, worker_id) ",
        );
        query.push_values(chunk, |mut row, JobInsert { job, leased, .. }| {
            let local = local.filter(|_| leased.is_some());
            row.push_bind(job.id.to_string())
                .push_bind(job.kind.as_str())
                .push_bind(job.gateway.to_string())
                .push_bind(job.operation.to_string())
                .push_bind(job.gateway_key.clone())
                .push_bind(micros(job.run_at))
                .push_bind(i64::from(job.attempt))
                .push_bind(micros(job.created_at))
                .push_bind(job.traceparent.clone())
                .push_bind(leased.map(|token| token.to_string()))
                .push_bind(local.map(|local| micros(job.run_at + local.lease)))
                .push_bind(local.map(|local| local.worker.clone()));
        });
        query.build().execute(&mut *connection).await.map_err(StoreError::doing("enqueue jobs"))?;
    }
    Ok(())
}

async fn end_deliveries(connection: &mut SqliteConnection, plan: &Plan) -> Result<(), StoreError> {
    if !plan.done.is_empty() {
        let ids: Vec<String> = plan.done.iter().map(ToString::to_string).collect();
        sqlx::query("delete from jobs where id in (select value from json_each(?))")
            .bind(json(&ids))
            .execute(&mut *connection)
            .await
            .map_err(StoreError::doing("end jobs"))?;
    }
    for Again { job, at, attempt, .. } in &plan.again {
        sqlx::query(
            "update jobs set run_at = ?, attempt = ?, lease_token = null, lease_until = null, worker_id = null \
             where id = ?",
        )
        .bind(micros(*at))
        .bind(i64::from(*attempt))
        .bind(job.to_string())
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing("reschedule a job"))?;
    }
    Ok(())
}

async fn insert_keys(connection: &mut SqliteConnection, keys: &[KeyClaim]) -> Result<(), StoreError> {
    for key in keys {
        // Only an expired row can be here, for a kept one refuses the commit.
        sqlx::query(
            "insert into idempotency_keys (organization_id, route, key, fingerprint, operation_id, created_at) \
             values (?, ?, ?, ?, ?, ?) on conflict (organization_id, route, key) do update set \
             fingerprint = excluded.fingerprint, operation_id = excluded.operation_id, \
             created_at = excluded.created_at",
        )
        .bind(key.organization.to_string())
        .bind(&key.route)
        .bind(&key.key)
        .bind(&key.fingerprint)
        .bind(key.operation.to_string())
        .bind(micros(key.created_at))
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing("keep an idempotency key"))?;
        let expired = key.created_at - chrono::TimeDelta::hours(crate::commit::KEY_KEPT_HOURS);
        sqlx::query("delete from idempotency_keys where created_at <= ?")
            .bind(micros(expired))
            .execute(&mut *connection)
            .await
            .map_err(StoreError::doing("forget expired idempotency keys"))?;
    }
    Ok(())
}

async fn change_secrets(
    connection: &mut SqliteConnection,
    changes: &[SecretChange],
) -> Result<(), StoreError> {
    for change in changes {
        let query = match change {
            SecretChange::Put { owner, sealed } => sqlx::query(
                "insert into secrets (owner, key_id, nonce, ciphertext) values (?, ?, ?, ?) on conflict (owner) \
                 do update set key_id = excluded.key_id, nonce = excluded.nonce, ciphertext = excluded.ciphertext",
            )
            .bind(owner)
            .bind(&sealed.key_id)
            .bind(&sealed.nonce)
            .bind(&sealed.ciphertext),
            SecretChange::Erase { owner } => sqlx::query("delete from secrets where owner = ?").bind(owner),
        };
        query.execute(&mut *connection).await.map_err(StoreError::doing("change a sealed secret"))?;
    }
    Ok(())
}

async fn change_credentials(
    connection: &mut SqliteConnection,
    changes: &[CredentialChange],
) -> Result<(), StoreError> {
    for change in changes {
        let query = match change {
            CredentialChange::Put { hash, subject } => sqlx::query(
                "insert into credentials (hash, subject) values (?, ?) on conflict (hash) do nothing",
            )
            .bind(hash)
            .bind(subject),
            CredentialChange::Erase { subject } => {
                sqlx::query("delete from credentials where subject = ?").bind(subject)
            }
        };
        query.execute(&mut *connection).await.map_err(StoreError::doing("change a token hash"))?;
    }
    Ok(())
}
