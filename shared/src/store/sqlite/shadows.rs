//! Tables beside the read models, which a rebuild fills.

use std::time::Instant;

use async_trait::async_trait;
use sqlx::{Sqlite, SqliteConnection};
use tokio::sync::oneshot;

use super::{SqliteStore, commit, operate::Doing, rows, writer::Other};
use crate::{
    ids::RebuildId,
    store::{
        CATCH_UP_MAX, CatchUp, Difference, Finished, Pace, Pauses, Shadows, StoreError, Swap,
        stored::{PROJECTIONS, Tables, compare, differing, signed, unsigned},
    },
    view::Row,
};

/// How often it is tried to compare between two commits, before whoever commits has to wait for it.
const LOOKS_MAX: u32 = 20;
/// How SQLite asks whether two lists of columns are not the same.
const DIFFERS: &str = "is not";
/// Rows of a shadow that are removed at once: some milliseconds for whoever commits.
const CLEARED: u32 = 500;

#[async_trait]
impl Shadows for SqliteStore {
    async fn shadow_begin(&self, run: RebuildId) -> Result<u64, StoreError> {
        loop {
            let begun =
                self.write("begin a rebuild", move |connection| Box::pin(begin(connection, run))).await?;
            // Some of what an earlier rebuild left was removed.
            let Some(filled) = begun else { continue };
            return Ok(filled);
        }
    }

    async fn shadow_fill(
        &self,
        run: RebuildId,
        rows: Vec<Row>,
        from: u64,
        to: u64,
    ) -> Result<bool, StoreError> {
        // Position and rows are lost together.
        self.write_as(("fill a shadow", Other::LazyTask), move |connection| {
            Box::pin(async move { fill(connection, run, &rows, (from, to)).await })
        })
        .await
    }

    async fn shadow_finish(
        &self,
        run: RebuildId,
        filled: u64,
        (swap, pace): (Swap, Pace),
        rest: &mut dyn CatchUp,
    ) -> Result<Finished, StoreError> {
        let mut filled = filled;
        for _ in 0..LOOKS_MAX {
            let reached = self
                .locked(rest, move |connection, rest| {
                    Box::pin(catch_up(connection, run, (filled, CATCH_UP_MAX), rest))
                })
                .await?;
            match reached {
                Ok(reached) => filled = reached,
                Err(finished) => return Ok(finished),
            }
            // In a snapshot, so that nobody who commits waits for the comparison, if nobody came between.
            let Some(differences) = self.compare_at(filled, pace).await? else { continue };
            if swap == Swap::Yes && !differing(&differences).is_empty() {
                break;
            }
            let is_ours =
                self.write("end a rebuild", move |connection| Box::pin(end(connection, run, filled)));
            if !is_ours.await? {
                return Ok(Finished::Gone);
            }
            self.sweep(pace).await?;
            return Ok(Finished::Compared(differences));
        }
        // Something differs and is replaced, which is rare: now whoever commits has to wait.
        let finished = self
            .locked(rest, move |connection, rest| Box::pin(replace(connection, run, (filled, swap), rest)))
            .await?;
        self.sweep(pace).await?;
        Ok(finished)
    }
}

async fn change(connection: &mut SqliteConnection, text: String) -> Result<u64, StoreError> {
    sqlx::query(sqlx::AssertSqlSafe(text))
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(StoreError::doing("change a shadow"))
}

/// Where the shadow is filled up to; `None` if an earlier rebuild had left rows, of which some are removed now.
async fn begin(connection: &mut SqliteConnection, run: RebuildId) -> Result<Option<u64>, StoreError> {
    let filled = filled(connection).await?;
    if filled.is_none() && clear_some(connection).await? {
        return Ok(None);
    }
    let begun =
        "insert into rebuild (id, position, run) values (1, 0, ?1) on conflict (id) do update set run = ?1";
    let begun = sqlx::query(begun).bind(run.to_string()).execute(connection).await;
    begun.map_err(StoreError::doing("begin a rebuild"))?;
    Ok(Some(filled.unwrap_or(0)))
}

async fn filled(connection: &mut SqliteConnection) -> Result<Option<u64>, StoreError> {
    let filled: Option<i64> = sqlx::query_scalar("select position from rebuild")
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::doing("begin a rebuild"))?;
    Ok(filled.map(unsigned))
}

/// Removes some rows of the shadows, if no rebuild needs them; whether there were any.
async fn clear_some(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    if filled(connection).await?.is_some() {
        return Ok(false);
    }
    for (table, _) in PROJECTIONS {
        let text = format!(
            "delete from shadow_{table} where id in (select id from shadow_{table} order by id limit {CLEARED})"
        );
        if change(connection, text).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
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

    /// Removes the rows of a rebuild that has ended, some at a time, so that nobody who commits waits for that.
    async fn sweep(&self, pace: Pace) -> Result<(), StoreError> {
        let mut pauses = Pauses::new(pace);
        loop {
            let began = Instant::now();
            let clearing = self
                .write_as(("end a rebuild", Other::LazyTask), |connection| Box::pin(clear_some(connection)));
            if !clearing.await? {
                return Ok(());
            }
            pauses.after(began.elapsed()).await;
        }
    }

    /// How the read models differ from a shadow that is filled up to here; `None` if the log has grown since.
    async fn compare_at(&self, filled: u64, pace: Pace) -> Result<Option<Vec<Difference>>, StoreError> {
        let failed = || StoreError::doing("compare a shadow");
        // Ended by its drop: it has only read.
        let mut snapshot = self.readers.begin().await.map_err(failed())?;
        if commit::read_head(&mut snapshot).await?.position != filled {
            return Ok(None);
        }
        compare::<Sqlite>(&mut snapshot, pace, DIFFERS).await.map(Some)
    }
}

/// Fills the shadow up to the head by at most so many events, and tells where that is; or why it cannot.
async fn catch_up(
    connection: &mut SqliteConnection,
    run: RebuildId,
    (filled, most): (u64, u64),
    rest: Rest,
) -> Result<Result<u64, Finished>, StoreError> {
    let head = commit::read_head(connection).await?;
    if head.position > filled.saturating_add(most) {
        return Ok(Err(Finished::Behind));
    }
    let rows = if head.position > filled {
        let _ = rest.behind.send(head.position);
        // Without an answer the reason is told by whoever was asked.
        rest.rows.await.map_err(|_| StoreError::Closed)?
    } else {
        vec![]
    };
    // Of two that rebuild, one finds that it stands elsewhere.
    let is_ours = fill(connection, run, &rows, (filled, head.position)).await?;
    Ok(if is_ours { Ok(head.position) } else { Err(Finished::Gone) })
}

async fn fill(
    connection: &mut SqliteConnection,
    run: RebuildId,
    rows: &[Row],
    (from, to): (u64, u64),
) -> Result<bool, StoreError> {
    let moved = sqlx::query("update rebuild set position = ? where id = 1 and position = ? and run = ?")
        .bind(signed(to))
        .bind(signed(from))
        .bind(run.to_string())
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing("fill a shadow"))?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    rows::upsert(connection, rows, Tables::Shadow).await.map(|()| true)
}

/// Ends the rebuild; `false` if it is not filled up to here any more.
async fn end(connection: &mut SqliteConnection, run: RebuildId, filled: u64) -> Result<bool, StoreError> {
    sqlx::query("delete from rebuild where position = ? and run = ?")
        .bind(signed(filled))
        .bind(run.to_string())
        .execute(connection)
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(StoreError::doing("end a rebuild"))
}

/// Compares once more, and lets the shadow take the place of what differs if it is to.
async fn replace(
    connection: &mut SqliteConnection,
    run: RebuildId,
    (filled, swap): (u64, Swap),
    rest: Rest,
) -> Result<Finished, StoreError> {
    // However much was recorded during the comparison: otherwise this would never end.
    if let Err(finished) = catch_up(connection, run, (filled, u64::MAX), rest).await? {
        return Ok(finished);
    }
    let differences = compare::<Sqlite>(connection, Pace::Fast, DIFFERS).await?;
    let replaced = if swap == Swap::Yes { differing(&differences) } else { vec![] };
    for (table, columns) in replaced {
        let all = format!("id, {}", columns.join(", "));
        change(connection, format!("delete from {table} where id not in (select id from shadow_{table})"))
            .await?;
        let sets: Vec<String> =
            columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        let text = format!(
            "insert into {table} ({all}) select {all} from shadow_{table} where true \
             on conflict (id) do update set {}",
            sets.join(", ")
        );
        change(connection, text).await?;
    }
    change(connection, "delete from rebuild".to_owned()).await?;
    Ok(Finished::Compared(differences))
}
