//! What operators, and the log's own upkeep, need.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Arguments as _, Encode, PgConnection, Postgres, Row as _, Type, postgres::PgArguments};

use super::{
    PostgresStore, commit,
    connections::Statement,
    load::{self, recorded},
    queue, rows,
};
use crate::{
    clock::{from_micros, micros},
    envelope::{Recorded, StoredEvent},
    ids::GatewayId,
    store::{
        Backlog, CATCH_UP_MAX, CatchUp, Checkpoint, Difference, EventFilter, Finished, Operate, Pause,
        StoreError, Swap,
        stored::{PROJECTIONS, Tables, comparison, differing, parse, parse_hash, signed, unsigned},
    },
    view::Row,
};

impl PostgresStore {
    /// Does something in one transaction of a connection for what may take its time. It is kept for the next time if all
    /// went well.
    pub(super) async fn long<T>(
        &self,
        doing: &'static str,
        begin: &'static str,
        task: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let failed = || StoreError::doing(doing);
        let mut kept = self.rebuild.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.reads().await?.connect().await.map_err(failed())?,
        };
        sqlx::raw_sql(begin).execute(&mut connection).await.map_err(failed())?;
        let done = task(&mut connection).await?;
        sqlx::raw_sql("commit").execute(&mut connection).await.map_err(failed())?;
        *kept = Some(connection);
        Ok(done)
    }
}

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

    async fn shadow_begin(&self) -> Result<u64, StoreError> {
        self.long("begin a rebuild", "begin", begin).await
    }

    async fn shadow_fill(&self, rows: Vec<Row>, from: u64, to: u64) -> Result<bool, StoreError> {
        // What is lost with the server is filled once more: position and rows are lost together.
        let begin = "begin; set local synchronous_commit = off";
        self.long("fill a shadow", begin, async |connection| fill(connection, &rows, from, to).await).await
    }

    async fn shadow_finish(
        &self,
        filled: u64,
        swap: Swap,
        rest: &mut dyn CatchUp,
    ) -> Result<Finished, StoreError> {
        // In a snapshot, so that nobody who commits waits for the comparison.
        let begin = "begin isolation level repeatable read";
        let looked = self
            .long("compare a shadow", begin, async |connection| look(connection, (filled, swap), rest).await)
            .await?;
        let filled = match looked {
            Looked::Ended(finished) => return Ok(finished),
            Looked::Differs { filled } => filled,
        };
        // Something differs and is replaced, which is rare: now whoever commits has to wait.
        self.long("end a rebuild", "begin", async |connection| replace(connection, filled, rest).await).await
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

async fn run(connection: &mut PgConnection, text: String) -> Result<(), StoreError> {
    sqlx::query(sqlx::AssertSqlSafe(text))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(StoreError::doing("change a shadow"))
}

async fn clear(connection: &mut PgConnection) -> Result<(), StoreError> {
    for (table, _) in PROJECTIONS {
        run(connection, format!("truncate table shadow_{table}")).await?;
    }
    run(connection, "delete from rebuild".to_owned()).await
}

async fn begin(connection: &mut PgConnection) -> Result<u64, StoreError> {
    run(connection, "lock table rebuild in share row exclusive mode".to_owned()).await?;
    let filled: Option<i64> = sqlx::query_scalar("select position from rebuild")
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::doing("begin a rebuild"))?;
    if filled.is_none() {
        clear(connection).await?;
        run(connection, "insert into rebuild (id, position) values (1, 0)".to_owned()).await?;
    }
    Ok(filled.map_or(0, unsigned))
}

async fn fill(connection: &mut PgConnection, rows: &[Row], from: u64, to: u64) -> Result<bool, StoreError> {
    let moved = sqlx::query("update rebuild set position = $1 where id = 1 and position = $2")
        .bind(signed(to))
        .bind(signed(from))
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing("fill a shadow"))?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    rows::upsert(connection, rows, Tables::Shadow).await.map(|()| true)
}

/// What a look in a snapshot came to.
enum Looked {
    Ended(Finished),
    /// The read models differ from the shadow, which is filled up to here.
    Differs {
        filled: u64,
    },
}

async fn look(
    connection: &mut PgConnection,
    (filled, swap): (u64, Swap),
    rest: &mut dyn CatchUp,
) -> Result<Looked, StoreError> {
    let head = sqlx::query("select position, hash from log_head where id = 1");
    let filled = match catch_up(connection, (head, CATCH_UP_MAX), filled, rest).await? {
        Ok(filled) => filled,
        Err(finished) => return Ok(Looked::Ended(finished)),
    };
    let differences = compare(connection).await?;
    if swap == Swap::Yes && !differing(&differences).is_empty() {
        return Ok(Looked::Differs { filled });
    }
    clear(connection).await?;
    Ok(Looked::Ended(Finished::Compared(differences)))
}

/// Compares once more, and lets the shadow take the place of what differs.
async fn replace(
    connection: &mut PgConnection,
    filled: u64,
    rest: &mut dyn CatchUp,
) -> Result<Finished, StoreError> {
    // The head first, as in every commit: whoever commits waits until this has ended.
    let head = sqlx::query("select position, hash from log_head where id = 1 for update");
    // However much was recorded during the comparison: otherwise this would never end.
    if let Err(finished) = catch_up(connection, (head, u64::MAX), filled, rest).await? {
        return Ok(finished);
    }
    let differences = compare(connection).await?;
    for (table, columns) in differing(&differences) {
        let all = format!("id, {}", columns.join(", "));
        let gone = format!(
            "delete from {table} l where not exists (select 1 from shadow_{table} s where s.id = l.id)"
        );
        run(connection, gone).await?;
        let sets: Vec<String> =
            columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        let text = format!(
            "insert into {table} ({all}) select {all} from shadow_{table} on conflict (id) do update set {}",
            sets.join(", ")
        );
        run(connection, text).await?;
    }
    clear(connection).await?;
    Ok(Finished::Compared(differences))
}

/// Fills the shadow up to the head by at most so many events, and tells where that is; or why it cannot.
async fn catch_up(
    connection: &mut PgConnection,
    (head, most): (Statement, u64),
    filled: u64,
    rest: &mut dyn CatchUp,
) -> Result<Result<u64, Finished>, StoreError> {
    let head = head.fetch_optional(&mut *connection).await.map_err(StoreError::doing("end a rebuild"))?;
    let head = commit::head(head.as_ref())?;
    if head.position > filled.saturating_add(most) {
        return Ok(Err(Finished::Behind(head)));
    }
    let rows = if head.position > filled { rest.rows(head.position).await? } else { vec![] };
    // Of two that rebuild, one finds that it stands elsewhere.
    let is_ours = fill(connection, &rows, filled, head.position).await?;
    Ok(if is_ours { Ok(head.position) } else { Err(Finished::Gone) })
}

/// How the read models differ from their shadows.
async fn compare(connection: &mut PgConnection) -> Result<Vec<Difference>, StoreError> {
    let mut differences = vec![];
    for (table, columns) in PROJECTIONS {
        let text = comparison(table, columns, "is distinct from");
        let row = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_one(&mut *connection).await;
        let row = row.map_err(StoreError::doing("compare a shadow"))?;
        let (rows, differing) = (unsigned(row.get(0)), unsigned(row.get(1)));
        differences.push(Difference { projection: table, rows, differing });
    }
    Ok(differences)
}
