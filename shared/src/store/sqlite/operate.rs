//! What operators, and the log's own upkeep, need.

use std::{future::Future, pin::Pin, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use tokio::sync::oneshot;

use super::{
    SqliteStore, commit,
    load::{self, COLUMNS, recorded},
    queue, rows,
    writer::{Other, Task},
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

/// How often it is tried to compare between two commits, before whoever commits has to wait for it.
const LOOKS_MAX: u32 = 20;

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
    async fn write_as<T: Send + 'static>(
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

    async fn shadow_begin(&self) -> Result<u64, StoreError> {
        self.write("begin a rebuild", |connection| Box::pin(begin(connection))).await
    }

    async fn shadow_fill(&self, rows: Vec<Row>, from: u64, to: u64) -> Result<bool, StoreError> {
        // Position and rows are lost together.
        self.write_as(("fill a shadow", Other::LazyTask), move |connection| {
            Box::pin(async move { fill(connection, &rows, from, to).await })
        })
        .await
    }

    async fn shadow_finish(
        &self,
        filled: u64,
        swap: Swap,
        rest: &mut dyn CatchUp,
    ) -> Result<Finished, StoreError> {
        let mut filled = filled;
        for _ in 0..LOOKS_MAX {
            let reached = self
                .locked(rest, move |connection, rest| {
                    Box::pin(catch_up(connection, (filled, CATCH_UP_MAX), rest))
                })
                .await?;
            match reached {
                Ok(reached) => filled = reached,
                Err(finished) => return Ok(finished),
            }
            // In a snapshot, so that nobody who commits waits for the comparison, if nobody came between.
            let Some(differences) = self.compare_at(filled).await? else { continue };
            if swap == Swap::Yes && !differing(&differences).is_empty() {
                break;
            }
            let is_ours = self.write("end a rebuild", move |connection| Box::pin(end(connection, filled)));
            return Ok(if is_ours.await? { Finished::Compared(differences) } else { Finished::Gone });
        }
        // Something differs and is replaced, which is rare: now whoever commits has to wait.
        self.locked(rest, move |connection, rest| Box::pin(replace(connection, (filled, swap), rest))).await
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

async fn run(connection: &mut SqliteConnection, text: String) -> Result<(), StoreError> {
    sqlx::query(sqlx::AssertSqlSafe(text))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(StoreError::doing("change a shadow"))
}

async fn clear(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for (table, _) in PROJECTIONS {
        run(connection, format!("delete from shadow_{table}")).await?;
    }
    run(connection, "delete from rebuild".to_owned()).await
}

async fn begin(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let filled: Option<i64> = sqlx::query_scalar("select position from rebuild")
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::doing("begin a rebuild"))?;
    if let Some(filled) = filled {
        return Ok(unsigned(filled));
    }
    clear(connection).await?;
    run(connection, "insert into rebuild (id, position) values (1, 0)".to_owned()).await?;
    Ok(0)
}

/// Asks, from within the writer's transaction, for what was recorded since the shadow was filled.
struct Rest {
    behind: oneshot::Sender<u64>,
    rows: oneshot::Receiver<Vec<Row>>,
}

impl SqliteStore {
    /// Does something in the writer's transaction that may ask for what was recorded since the shadow was filled.
    async fn locked<T: Send + 'static>(
        &self,
        rest: &mut dyn CatchUp,
        task: impl for<'c> FnOnce(&'c mut SqliteConnection, Rest) -> Doing<'c, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (behind, asked) = oneshot::channel();
        let (answer, rows) = oneshot::channel();
        let last = Rest { behind, rows };
        let doing = self.write("end a rebuild", move |connection| task(connection, last));
        let catching_up = async {
            // Nobody asks where nothing was recorded since.
            let Ok(to) = asked.await else { return Ok(()) };
            let _ = answer.send(rest.rows(to).await?);
            Ok(())
        };
        let (done, caught_up) = tokio::join!(doing, catching_up);
        caught_up.and(done)
    }

    /// How the read models differ from a shadow that is filled up to here; `None` if the log has grown since.
    async fn compare_at(&self, filled: u64) -> Result<Option<Vec<Difference>>, StoreError> {
        let failed = || StoreError::doing("compare a shadow");
        // Ended by its drop: it has only read.
        let mut snapshot = self.readers.begin().await.map_err(failed())?;
        if commit::read_head(&mut snapshot).await?.position != filled {
            return Ok(None);
        }
        compare(&mut snapshot).await.map(Some)
    }
}

/// Fills the shadow up to the head by at most so many events, and tells where that is; or why it cannot.
async fn catch_up(
    connection: &mut SqliteConnection,
    (filled, most): (u64, u64),
    rest: Rest,
) -> Result<Result<u64, Finished>, StoreError> {
    let head = commit::read_head(connection).await?;
    if head.position > filled.saturating_add(most) {
        return Ok(Err(Finished::Behind(head)));
    }
    let rows = if head.position > filled {
        let _ = rest.behind.send(head.position);
        // Without an answer the reason is told by whoever was asked.
        rest.rows.await.map_err(|_| StoreError::Closed)?
    } else {
        vec![]
    };
    // Of two that rebuild, one finds that it stands elsewhere.
    let is_ours = fill(connection, &rows, filled, head.position).await?;
    Ok(if is_ours { Ok(head.position) } else { Err(Finished::Gone) })
}

async fn fill(
    connection: &mut SqliteConnection,
    rows: &[Row],
    from: u64,
    to: u64,
) -> Result<bool, StoreError> {
    let moved = sqlx::query("update rebuild set position = ? where id = 1 and position = ?")
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

/// Frees the shadow; `false` if it is not filled up to here any more.
async fn end(connection: &mut SqliteConnection, filled: u64) -> Result<bool, StoreError> {
    let is_ours = fill(connection, &[], filled, filled).await?;
    if is_ours {
        clear(connection).await?;
    }
    Ok(is_ours)
}

/// Compares once more, and lets the shadow take the place of what differs if it is to.
async fn replace(
    connection: &mut SqliteConnection,
    (filled, swap): (u64, Swap),
    rest: Rest,
) -> Result<Finished, StoreError> {
    // However much was recorded during the comparison: otherwise this would never end.
    if let Err(finished) = catch_up(connection, (filled, u64::MAX), rest).await? {
        return Ok(finished);
    }
    let differences = compare(connection).await?;
    let replaced = if swap == Swap::Yes { differing(&differences) } else { vec![] };
    for (table, columns) in replaced {
        let all = format!("id, {}", columns.join(", "));
        run(connection, format!("delete from {table} where id not in (select id from shadow_{table})"))
            .await?;
        let sets: Vec<String> =
            columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        let text = format!(
            "insert into {table} ({all}) select {all} from shadow_{table} where true \
             on conflict (id) do update set {}",
            sets.join(", ")
        );
        run(connection, text).await?;
    }
    clear(connection).await?;
    Ok(Finished::Compared(differences))
}

/// How the read models differ from their shadows.
async fn compare(connection: &mut SqliteConnection) -> Result<Vec<Difference>, StoreError> {
    let mut differences = vec![];
    for (table, columns) in PROJECTIONS {
        let text = comparison(table, columns, "is not");
        let row = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_one(&mut *connection).await;
        let row = row.map_err(StoreError::doing("compare a shadow"))?;
        let (rows, differing) = (unsigned(row.get(0)), unsigned(row.get(1)));
        differences.push(Difference { projection: table, rows, differing });
    }
    Ok(differences)
}
