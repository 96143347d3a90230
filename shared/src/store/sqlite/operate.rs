//! What operators, and the log's own upkeep, need.

use std::{future::Future, pin::Pin, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{
    SqliteStore,
    load::{self, COLUMNS, recorded},
    queue,
    writer::{Other, Task},
};
use crate::{
    clock::{from_micros, micros},
    envelope::{Recorded, StoredEvent},
    ids::GatewayId,
    store::{
        Backlog, Checkpoint, EventFilter, Operate, Pause, StoreError,
        stored::{parse, parse_hash, signed, unsigned},
    },
};

pub(super) type Doing<'c, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'c>>;

impl SqliteStore {
    /// Does something in one transaction of the only connection that writes.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        task: impl for<'c> FnOnce(&'c mut SqliteConnection) -> Doing<'c, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_as((doing, Other::Task), task).await
    }

    /// The same, as what is durable when it returns, or as what may be lost with the power.
    pub(super) async fn write_as<T: Send + 'static>(
        &self,
        (doing, kind): (&'static str, fn(Task) -> Other),
        task: impl for<'c> FnOnce(&'c mut SqliteConnection) -> Doing<'c, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = move || StoreError::doing(doing);
        self.writes
            .ask(|answer| {
                kind(Box::new(move |connection| {
                    Box::pin(async move {
                        let done = async {
                            sqlx::query("begin immediate")
                                .execute(&mut *connection)
                                .await
                                .map_err(failed())?;
                            let done = task(connection).await;
                            let end = if done.is_ok() { "commit" } else { "rollback" };
                            sqlx::query(end).execute(&mut *connection).await.map_err(failed())?;
                            done
                        };
                        let _ = answer.send(done.await);
                    })
                }))
            })
            .await
    }
}

#[async_trait]
impl Operate for SqliteStore {
    async fn events(
        &self,
        filter: &EventFilter,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        let mut query =
            QueryBuilder::<Sqlite>::new(format!("select {COLUMNS} from events where position > "));
        query.push_bind(signed(after));
        narrow(&mut query, filter);
        query.push(" order by position limit ").push_bind(i64::from(limit));
        let rows =
            query.build().fetch_all(&self.readers).await.map_err(StoreError::doing("search the log"))?;
        rows.iter().map(recorded).collect()
    }

    async fn stored_page(&self, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        load::stored(&self.readers, after, limit).await
    }

    async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        queue::pause(&self.readers).await
    }

    async fn backlog(&self, now: DateTime<Utc>) -> Result<Backlog, StoreError> {
        queue::backlog(&self.readers, now).await
    }

    async fn waiting_without_job(&self, limit: u32) -> Result<Vec<GatewayId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "select gateway_id from operations o where status in ('pending', 'awaiting_pairing') \
                 and not exists (select 1 from jobs j where j.operation_id = o.id) \
             union \
             select substr(owner, 9, 36) from secrets where owner like 'gateway-%/agent-token' \
                 and substr(owner, 9, 36) not in (select id from gateways) \
                 and substr(owner, 9, 36) not in (select gateway_id from jobs) \
             union \
             select gateway_id from agents where document like '%\"status\":\"missed_check_in\"%' \
                 and gateway_id not in (select gateway_id from jobs \
                                        where kind in ('await_check_in', 'wake_main_agent')) \
             limit ?",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::doing("look for what waits without a job"))?;
        ids.into_iter().map(|id| parse("gateway id", id)).collect()
    }

    async fn time(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(None)
    }

    async fn take_turn(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write("take a turn", move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "insert into turns (name, holder, until) values (?1, ?2, ?3) on conflict (name) do update \
                     set holder = excluded.holder, until = excluded.until \
                     where turns.until <= ?4 or turns.holder = excluded.holder",
                )
                .bind(name)
                .bind(holder)
                .bind(micros(now + lasts))
                .bind(micros(now))
                .execute(connection)
                .await
                .map(|done| done.rows_affected() > 0)
                .map_err(StoreError::doing("take a turn"))
            })
        })
        .await
    }

    async fn keep_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let checkpoint = checkpoint.clone();
        self.write("keep a checkpoint", move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "insert into checkpoints (position, hash, signed_at, public_key, signature) \
                     values (?, ?, ?, ?, ?) on conflict (position) do nothing",
                )
                .bind(signed(checkpoint.position))
                .bind(checkpoint.hash.0.to_vec())
                .bind(micros(checkpoint.signed_at))
                .bind(checkpoint.public_key)
                .bind(checkpoint.signature)
                .execute(connection)
                .await
                .map(|_| ())
                .map_err(StoreError::doing("keep a checkpoint"))
            })
        })
        .await
    }

    async fn checkpoint(&self, at_most: u64) -> Result<Option<Checkpoint>, StoreError> {
        let row = sqlx::query(
            "select position, hash, signed_at, public_key, signature from checkpoints \
             where position <= ? order by position desc limit 1",
        )
        .bind(signed(at_most))
        .fetch_optional(&self.readers)
        .await
        .map_err(StoreError::doing("read a checkpoint"))?;
        row.map(|row| {
            Ok(Checkpoint {
                position: unsigned(row.get(0)),
                hash: parse_hash(row.get(1))?,
                signed_at: from_micros(row.get(2)),
                public_key: row.get(3),
                signature: row.get(4),
            })
        })
        .transpose()
    }
}

fn narrow(query: &mut QueryBuilder<Sqlite>, filter: &EventFilter) {
    if let Some(organization) = filter.organization {
        query.push(" and organization_id = ").push_bind(organization.to_string());
    }
    if let Some(event_type) = &filter.event_type {
        query.push(" and event_type = ").push_bind(event_type.clone());
    }
    if let Some(stream) = &filter.stream {
        query.push(" and stream_id = ").push_bind(stream.to_string());
    }
    if let Some(operation) = filter.operation {
        query
            .push(" and stream_id in (select 'gateway-' || gateway_id from operations where id = ")
            .push_bind(operation.to_string())
            .push(") and json_extract(metadata, '$.operation') = ")
            .push_bind(operation.to_string());
    }
    if let Some(actor) = &filter.actor {
        query.push(" and json_extract(metadata, '$.actor.id') = ").push_bind(actor.clone());
    }
    if let Some(since) = filter.since {
        query.push(" and recorded_at >= ").push_bind(micros(since));
    }
    if let Some(until) = filter.until {
        query.push(" and recorded_at < ").push_bind(micros(until));
    }
}
