//! The processes that use the file: one that serves, and nobody else for long.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::SqliteStore;
use crate::{
    clock::{from_micros, micros},
    store::{
        FORGOTTEN_AFTER, KEY_CHECK, NEXT_KEY_CHECK, Orders, Process, Registry, Report, StoreError,
        stored::{parse, small},
    },
};

#[async_trait]
impl Registry for SqliteStore {
    async fn report(&self, report: &Report, now: DateTime<Utc>) -> Result<Orders, StoreError> {
        let report = report.clone();
        self.write("keep the report of a process", move |connection| {
            Box::pin(async move { keep(connection, &report, now).await })
        })
        .await
    }

    async fn leave(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write("forget a process", move |connection| {
            Box::pin(async move {
                sqlx::query("delete from processes where id = ?")
                    .bind(id)
                    .execute(connection)
                    .await
                    .map(|_| ())
                    .map_err(StoreError::doing("forget a process"))
            })
        })
        .await
    }

    async fn processes(&self, now: DateTime<Utc>) -> Result<Vec<Process>, StoreError> {
        let rows = sqlx::query(
            "select id, kind, host, pid, version, key_ids, started_at, seen_at, in_flight, concurrency, draining, \
                    exists (select 1 from worker_drains d where d.id = p.id) \
             from processes p order by started_at, id",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::doing("list processes"))?;
        rows.iter().map(|row| process(row, now)).collect()
    }
}

async fn keep(
    connection: &mut SqliteConnection,
    report: &Report,
    now: DateTime<Utc>,
) -> Result<Orders, StoreError> {
    let failed = || StoreError::doing("keep the report of a process");
    sqlx::query("delete from processes where seen_at < ?")
        .bind(micros(now - FORGOTTEN_AFTER))
        .execute(&mut *connection)
        .await
        .map_err(failed())?;
    sqlx::query(
        "insert into processes (id, kind, host, pid, version, key_ids, started_at, seen_at, in_flight, concurrency, \
                                draining) \
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do update set \
             key_ids = excluded.key_ids, seen_at = excluded.seen_at, in_flight = excluded.in_flight, \
             draining = excluded.draining",
    )
    .bind(&report.id)
    .bind(report.kind.as_str())
    .bind(&report.host)
    .bind(i64::from(report.pid))
    .bind(&report.version)
    .bind(&report.key_ids)
    .bind(micros(report.started_at))
    .bind(micros(now))
    .bind(i64::from(report.in_flight))
    .bind(i64::from(report.concurrency))
    .bind(report.draining)
    .execute(&mut *connection)
    .await
    .map_err(failed())?;
    let row = sqlx::query(
        "select exists (select 1 from worker_drains where id = ?), \
                (select value from installation where name = ?), (select value from installation where name = ?)",
    )
    .bind(&report.id)
    .bind(KEY_CHECK)
    .bind(NEXT_KEY_CHECK)
    .fetch_one(connection)
    .await
    .map_err(failed())?;
    Ok(Orders { is_to_drain: row.get(0), key_check: row.get(1), next_key_check: row.get(2) })
}

fn process(row: &SqliteRow, now: DateTime<Utc>) -> Result<Process, StoreError> {
    let seen_at = from_micros(row.get(7));
    Ok(Process {
        report: Report {
            id: row.get(0),
            kind: parse("kind of a process", row.get(1))?,
            host: row.get(2),
            pid: small(row.get(3)),
            version: row.get(4),
            key_ids: row.get(5),
            started_at: from_micros(row.get(6)),
            in_flight: small(row.get(8)),
            concurrency: small(row.get(9)),
            draining: row.get(10),
        },
        seen_at,
        silent_for: (now - seen_at).to_std().unwrap_or_default(),
        is_to_drain: row.get(11),
    })
}
