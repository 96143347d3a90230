//! The processes of the fleet, by the clock of the database.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row as _, postgres::PgRow};

use super::PostgresStore;
use crate::{
    clock::{from_micros, micros},
    store::{
        FORGOTTEN_AFTER, KEY_CHECK, NEXT_KEY_CHECK, Orders, Process, Registry, Report, StoreError,
        stored::{parse, small, unsigned},
    },
};

/// One statement, for it is sent every few seconds by everybody.
const REPORT: &str = "with forgotten as ( \
         delete from processes where seen_at < queue_now() - $10 * interval '1 second' and id <> $1), \
     kept as ( \
         insert into processes (id, kind, host, pid, version, key_ids, started_at, seen_at, in_flight, concurrency, \
                                draining) \
         values ($1, $2, $3, $4, $5, $6, $7, queue_now(), $8, $9, $11) on conflict (id) do update set \
             key_ids = excluded.key_ids, seen_at = excluded.seen_at, in_flight = excluded.in_flight, \
             draining = excluded.draining) \
     select exists (select 1 from worker_drains where id = $1), \
            (select value from installation where name = $12), (select value from installation where name = $13)";

#[async_trait]
impl Registry for PostgresStore {
    async fn report(&self, report: &Report, _: DateTime<Utc>) -> Result<Orders, StoreError> {
        let forgotten = i64::try_from(FORGOTTEN_AFTER.as_secs()).unwrap_or(i64::MAX);
        let statement = || {
            let report = report.clone();
            sqlx::query(REPORT)
                .bind(report.id)
                .bind(report.kind.as_str())
                .bind(report.host)
                .bind(i64::from(report.pid))
                .bind(report.version)
                .bind(report.key_ids)
                .bind(micros(report.started_at))
                .bind(i64::from(report.in_flight))
                .bind(i64::from(report.concurrency))
                .bind(forgotten)
                .bind(report.draining)
                .bind(KEY_CHECK)
                .bind(NEXT_KEY_CHECK)
        };
        // Not on the connections for leases: those must not wait for this.
        let rows = self.reads().await?.fetch("keep the report of a process", statement).await?;
        let orders = |row: &PgRow| Orders {
            is_to_drain: row.get(0),
            key_check: row.get(1),
            next_key_check: row.get(2),
        };
        Ok(rows.first().map(orders).unwrap_or_default())
    }

    async fn leave(&self, id: &str) -> Result<(), StoreError> {
        let statement = || sqlx::query("delete from processes where id = $1").bind(id.to_owned());
        self.reads().await?.fetch("forget a process", statement).await.map(|_| ())
    }

    async fn processes(&self, _: DateTime<Utc>) -> Result<Vec<Process>, StoreError> {
        let statement = || {
            sqlx::query(
                "select id, kind, host, pid, version, key_ids, started_at, seen_at, in_flight, concurrency, draining, \
                        exists (select 1 from worker_drains d where d.id = p.id), \
                        (extract(epoch from queue_now() - seen_at) * 1000)::bigint \
                 from processes p order by started_at, id",
            )
        };
        let rows = self.reads().await?.fetch("list processes", statement).await?;
        rows.iter().map(process).collect()
    }
}

fn process(row: &PgRow) -> Result<Process, StoreError> {
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
        seen_at: row.get(7),
        silent_for: Duration::from_millis(unsigned(row.get(12))),
        is_to_drain: row.get(11),
    })
}
