//! Tables beside the read models, which a rebuild fills.

use async_trait::async_trait;
use sqlx::{PgConnection, Postgres};

use super::{PostgresStore, commit, connections::Statement, rows};
use crate::{
    ids::RebuildId,
    store::{
        CATCH_UP_MAX, CatchUp, Finished, Pace, Shadows, StoreError, Swap,
        stored::{PROJECTIONS, Tables, compare, differing, signed, unsigned},
    },
    view::Row,
};

/// How PostgreSQL asks whether two lists of columns are not the same.
const DIFFERS: &str = "is distinct from";

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
impl Shadows for PostgresStore {
    async fn shadow_begin(&self, run: RebuildId) -> Result<u64, StoreError> {
        self.long("begin a rebuild", "begin", async |connection| begin(connection, run).await).await
    }

    async fn shadow_fill(
        &self,
        run: RebuildId,
        rows: Vec<Row>,
        from: u64,
        to: u64,
    ) -> Result<bool, StoreError> {
        // What is lost with the server is filled once more: position and rows are lost together.
        let begin = "begin; set local synchronous_commit = off";
        self.long("fill a shadow", begin, async |connection| fill(connection, run, &rows, (from, to)).await)
            .await
    }

    async fn shadow_finish(
        &self,
        run: RebuildId,
        filled: u64,
        how: (Swap, Pace),
        rest: &mut dyn CatchUp,
    ) -> Result<Finished, StoreError> {
        // In a snapshot, so that nobody who commits waits for the comparison.
        let begin = "begin isolation level repeatable read";
        let looked = self
            .long("compare a shadow", begin, async |connection| {
                look(connection, (run, filled), how, rest).await
            })
            .await?;
        let filled = match looked {
            Looked::Ended(finished) => return Ok(finished),
            Looked::Differs { filled } => filled,
        };
        // Something differs and is replaced, which is rare: now whoever commits has to wait.
        self.long("end a rebuild", "begin", async |connection| replace(connection, (run, filled), rest).await)
            .await
    }
}

async fn change(connection: &mut PgConnection, text: String) -> Result<(), StoreError> {
    sqlx::query(sqlx::AssertSqlSafe(text))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(StoreError::doing("change a shadow"))
}

async fn clear(connection: &mut PgConnection) -> Result<(), StoreError> {
    for (table, _) in PROJECTIONS {
        change(connection, format!("truncate table shadow_{table}")).await?;
    }
    change(connection, "delete from rebuild".to_owned()).await
}

async fn begin(connection: &mut PgConnection, run: RebuildId) -> Result<u64, StoreError> {
    change(connection, "lock table rebuild in share row exclusive mode".to_owned()).await?;
    let filled: Option<i64> = sqlx::query_scalar("select position from rebuild")
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::doing("begin a rebuild"))?;
    if filled.is_none() {
        clear(connection).await?;
    }
    let begun =
        "insert into rebuild (id, position, run) values (1, 0, $1) on conflict (id) do update set run = $1";
    let begun = sqlx::query(begun).bind(run.to_string()).execute(&mut *connection).await;
    begun.map_err(StoreError::doing("begin a rebuild"))?;
    Ok(filled.map_or(0, unsigned))
}

async fn fill(
    connection: &mut PgConnection,
    run: RebuildId,
    rows: &[Row],
    (from, to): (u64, u64),
) -> Result<bool, StoreError> {
    let moved = sqlx::query("update rebuild set position = $1 where id = 1 and position = $2 and run = $3")
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
    (run, filled): (RebuildId, u64),
    (swap, pace): (Swap, Pace),
    rest: &mut dyn CatchUp,
) -> Result<Looked, StoreError> {
    let head = sqlx::query("select position, hash from log_head where id = 1");
    let filled = match catch_up(connection, (head, CATCH_UP_MAX), (run, filled), rest).await? {
        Ok(filled) => filled,
        Err(finished) => return Ok(Looked::Ended(finished)),
    };
    let differences = compare::<Postgres>(connection, pace, DIFFERS).await?;
    if swap == Swap::Yes && !differing(&differences).is_empty() {
        return Ok(Looked::Differs { filled });
    }
    clear(connection).await?;
    Ok(Looked::Ended(Finished::Compared(differences)))
}

/// Compares once more, and lets the shadow take the place of what differs.
async fn replace(
    connection: &mut PgConnection,
    (run, filled): (RebuildId, u64),
    rest: &mut dyn CatchUp,
) -> Result<Finished, StoreError> {
    // The head first, as in every commit: whoever commits waits until this has ended.
    let head = sqlx::query("select position, hash from log_head where id = 1 for update");
    // However much was recorded during the comparison: otherwise this would never end.
    if let Err(finished) = catch_up(connection, (head, u64::MAX), (run, filled), rest).await? {
        return Ok(finished);
    }
    let differences = compare::<Postgres>(connection, Pace::Fast, DIFFERS).await?;
    for (table, columns) in differing(&differences) {
        let all = format!("id, {}", columns.join(", "));
        let gone = format!(
            "delete from {table} l where not exists (select 1 from shadow_{table} s where s.id = l.id)"
        );
        change(connection, gone).await?;
        let sets: Vec<String> =
            columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        let text = format!(
            "insert into {table} ({all}) select {all} from shadow_{table} on conflict (id) do update set {}",
            sets.join(", ")
        );
        change(connection, text).await?;
    }
    clear(connection).await?;
    Ok(Finished::Compared(differences))
}

/// Fills the shadow up to the head by at most so many events, and tells where that is; or why it cannot.
async fn catch_up(
    connection: &mut PgConnection,
    (head, most): (Statement, u64),
    (run, filled): (RebuildId, u64),
    rest: &mut dyn CatchUp,
) -> Result<Result<u64, Finished>, StoreError> {
    let head = head.fetch_optional(&mut *connection).await.map_err(StoreError::doing("end a rebuild"))?;
    let head = commit::head(head.as_ref())?;
    if head.position > filled.saturating_add(most) {
        return Ok(Err(Finished::Behind));
    }
    let rows = if head.position > filled { rest.rows(head.position).await? } else { vec![] };
    // Of two that rebuild, one finds that it stands elsewhere.
    let is_ours = fill(connection, run, &rows, (filled, head.position)).await?;
    Ok(if is_ours { Ok(head.position) } else { Err(Finished::Gone) })
}
