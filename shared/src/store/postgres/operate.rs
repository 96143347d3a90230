//! What operators, and the log's own upkeep, need.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Arguments as _, Encode, Postgres, Row as _, Type, postgres::PgArguments};

use super::{
    PostgresStore,
    connections::Statement,
    load::{self, recorded},
    queue,
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

#[async_trait]
impl Operate for PostgresStore {
    async fn events(
        &self,
        filter: &EventFilter,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        let statement = || Search::of(filter, after, limit);
        self.reads().await?.fetch("search the log", statement).await?.iter().map(recorded).collect()
    }

    async fn stored_page(&self, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        load::stored(self.reads().await?, after, limit).await
    }

    async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        queue::pause(self.reads().await?).await
    }

    async fn backlog(&self, _: DateTime<Utc>) -> Result<Backlog, StoreError> {
        queue::backlog(self.reads().await?).await
    }

    async fn waiting_without_job(&self, limit: u32) -> Result<Vec<GatewayId>, StoreError> {
        let statement = || {
            sqlx::query(
                "select gateway_id from operations o where status in ('pending', 'awaiting_pairing') \
                     and not exists (select 1 from jobs j where j.operation_id = o.id) \
                 union \
                 select substr(owner, 9, 36) from secrets s where owner like 'gateway-%/agent-token' \
                     and not exists (select 1 from gateways g where g.id = substr(s.owner, 9, 36)) \
                     and substr(owner, 9, 36) not in (select gateway_id from jobs) \
                 union \
                 select gateway_id from agents where document like '%\"status\":\"missed_check_in\"%' \
                     and gateway_id not in (select gateway_id from jobs \
                                            where kind in ('await_check_in', 'wake_main_agent')) \
                 limit $1",
            )
            .bind(i64::from(limit))
        };
        let rows = self.reads().await?.fetch("look for what waits without a job", statement).await?;
        rows.iter().map(|row| parse("gateway id", row.get(0))).collect()
    }

    async fn time(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let rows = self.reads().await?.fetch("tell the time", || sqlx::query("select queue_now()")).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn take_turn(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
        _: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let lasts = i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX);
        let (name, holder) = (name.to_owned(), holder.to_owned());
        let statement = || {
            sqlx::query(
                "insert into turns (name, holder, until) \
                 values ($1, $2, queue_now() + $3 * interval '1 microsecond') on conflict (name) do update \
                 set holder = excluded.holder, until = excluded.until \
                 where turns.until <= queue_now() or turns.holder = excluded.holder returning name",
            )
            .bind(name.clone())
            .bind(holder.clone())
            .bind(lasts)
        };
        Ok(!self.queue().await?.fetch("take a turn", statement).await?.is_empty())
    }

    async fn keep_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let statement = || {
            sqlx::query(
                "insert into checkpoints (position, hash, signed_at, public_key, signature) \
                 values ($1, $2, $3, $4, $5) on conflict (position) do nothing",
            )
            .bind(signed(checkpoint.position))
            .bind(checkpoint.hash.0.to_vec())
            .bind(micros(checkpoint.signed_at))
            .bind(checkpoint.public_key.clone())
            .bind(checkpoint.signature.clone())
        };
        self.queue().await?.fetch("keep a checkpoint", statement).await.map(|_| ())
    }

    async fn checkpoint(&self, at_most: u64) -> Result<Option<Checkpoint>, StoreError> {
        let statement = || {
            sqlx::query(
                "select position, hash, signed_at, public_key, signature from checkpoints \
                 where position <= $1 order by position desc limit 1",
            )
            .bind(signed(at_most))
        };
        let rows = self.reads().await?.fetch("read a checkpoint", statement).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Checkpoint {
            position: unsigned(row.get(0)),
            hash: parse_hash(row.get(1))?,
            signed_at: from_micros(row.get(2)),
            public_key: row.get(3),
            signature: row.get(4),
        }))
    }
}

/// A statement whose conditions are only those that are given, so that an index can serve each.
struct Search {
    text: String,
    arguments: PgArguments,
    count: u32,
}

impl Search {
    fn of(filter: &EventFilter, after: u64, limit: u32) -> Statement {
        let text = "select position, event_id, stream_id, stream_version, event_type, schema_version, \
                    organization_id, data, metadata, recorded_at, hash from events where position > ";
        let mut search = Self { text: String::new(), arguments: PgArguments::default(), count: 0 };
        search.push(text, signed(after));
        if let Some(organization) = filter.organization {
            search.push(" and organization_id = ", organization.to_string());
        }
        if let Some(event_type) = &filter.event_type {
            search.push(" and event_type = ", event_type.clone());
        }
        if let Some(stream) = &filter.stream {
            search.push(" and stream_id = ", stream.to_string());
        }
        if let Some(operation) = filter.operation {
            search.push(" and metadata::json ->> 'operation' = ", operation.to_string());
            let of_gateway = " and stream_id in (select 'gateway-' || gateway_id from operations where id = ";
            search.push(of_gateway, operation.to_string());
            search.text.push(')');
        }
        if let Some(actor) = &filter.actor {
            search.push(" and metadata::json #>> '{actor,id}' = ", actor.clone());
        }
        if let Some(since) = filter.since {
            search.push(" and recorded_at >= ", micros(since));
        }
        if let Some(until) = filter.until {
            search.push(" and recorded_at < ", micros(until));
        }
        search.push(" order by position limit ", i64::from(limit));
        sqlx::query_with(sqlx::AssertSqlSafe(search.text), search.arguments)
    }

    fn push<T>(&mut self, text: &str, value: T)
    where
        T: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    {
        self.count += 1;
        self.text.push_str(text);
        self.text.push('$');
        self.text.push_str(&self.count.to_string());
        // A text or a number can always be encoded; without it the statement would be refused.
        let _ = self.arguments.add(value);
    }
}
