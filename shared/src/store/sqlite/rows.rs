//! Writes of the read models, and of their shadows.

use chrono::{DateTime, Utc};
use sqlx::{Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};

use crate::{
    clock::micros,
    store::{StoreError, stored::Tables},
    view::Row,
};

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// A statement with `{}` before the name of each table.
fn query(tables: Tables, text: &'static str) -> Statement<'static> {
    sqlx::query(sqlx::AssertSqlSafe(tables.name(text)))
}

/// Documents of one statement: its text must be one of a few, for each is prepared and kept.
const DOCUMENTS: usize = 32;

/// Writes rows; the plan has seen to it that each id comes once.
///
/// Documents first, as many as fit with one statement, then
/// what is single or removed.
pub(super) async fn upsert(
    connection: &mut SqliteConnection,
    rows: &[Row],
    tables: Tables,
) -> Result<(), StoreError> {
    let failed = || StoreError::doing("write a read model");
    let (documents, others): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| table(row).is_some());
    for (name, insert) in [("gateways", GATEWAYS), ("operations", OPERATIONS), ("agents", AGENTS)] {
        let of_table: Vec<&Row> = documents.iter().copied().filter(|row| table(row) == Some(name)).collect();
        let (chunks, rest) = of_table.as_chunks::<DOCUMENTS>();
        for chunk in chunks.iter().map(<[&Row; DOCUMENTS]>::as_slice).chain(rest.chunks(1)) {
            let values = vec![insert.values; chunk.len()].join(", ");
            let text = tables.name(&format!("{} {values} {}", insert.into, insert.conflict));
            let statement = sqlx::query(sqlx::AssertSqlSafe(text));
            let bound = chunk.iter().fold(statement, |statement, row| bind(statement, row));
            bound.execute(&mut *connection).await.map_err(failed())?;
        }
    }
    for row in others {
        upsert_one(connection, row, tables).await.map_err(failed())?;
    }
    Ok(())
}

/// The parts of an upsert of documents.
#[derive(Clone, Copy)]
struct Insert {
    into: &'static str,
    values: &'static str,
    conflict: &'static str,
}

const GATEWAYS: Insert = Insert {
    into: "insert into {}gateways (id, organization_id, created_at, document) values",
    values: "(?, ?, ?, ?)",
    conflict: "on conflict (id) do update set document = excluded.document",
};

const OPERATIONS: Insert = Insert {
    into: "insert into {}operations (id, organization_id, gateway_id, status, created_at, document) values",
    values: "(?, ?, ?, ?, ?, ?)",
    conflict: "on conflict (id) do update set status = excluded.status, document = excluded.document",
};

const AGENTS: Insert = Insert {
    into: "insert into {}agents (id, organization_id, gateway_id, created_at, document) values",
    values: "(?, ?, ?, ?, ?)",
    conflict: "on conflict (id) do update set document = excluded.document",
};

/// The table of a row that is a document.
fn table(row: &Row) -> Option<&'static str> {
    match row {
        Row::Gateway { .. } => Some("gateways"),
        Row::Operation { .. } => Some("operations"),
        Row::Agent { .. } => Some("agents"),
        Row::GatewayGone { .. }
        | Row::Organization { .. }
        | Row::Member { .. }
        | Row::Token { .. }
        | Row::QueuePause(_)
        | Row::WorkerDrain { .. } => None,
    }
}

/// Binds the columns of a document.
fn bind<'q>(statement: Statement<'q>, row: &'q Row) -> Statement<'q> {
    match row {
        Row::Gateway { id, organization, created_at, document } => statement
            .bind(id.to_string())
            .bind(organization.to_string())
            .bind(micros(*created_at))
            .bind(document),
        Row::Operation { id, organization, gateway, status, created_at, document } => statement
            .bind(id.to_string())
            .bind(organization.to_string())
            .bind(gateway.to_string())
            .bind(*status)
            .bind(micros(*created_at))
            .bind(document),
        Row::Agent { id, organization, gateway, created_at, document } => statement
            .bind(id.to_string())
            .bind(organization.to_string())
            .bind(gateway.to_string())
            .bind(micros(*created_at))
            .bind(document),
        Row::GatewayGone { .. }
        | Row::Organization { .. }
        | Row::Member { .. }
        | Row::Token { .. }
        | Row::QueuePause(_)
        | Row::WorkerDrain { .. } => statement,
    }
}

async fn upsert_one(connection: &mut SqliteConnection, row: &Row, tables: Tables) -> Result<(), sqlx::Error> {
    let writing = match row {
        Row::GatewayGone { id, agent } => {
            let gone = query(tables, "delete from {}agents where id = ?").bind(agent.to_string());
            gone.execute(&mut *connection).await?;
            query(tables, "delete from {}gateways where id = ?").bind(id.to_string())
        }
        Row::Gateway { .. } | Row::Operation { .. } | Row::Agent { .. } => return Ok(()),
        Row::Organization { id, name, created_at } => query(
            tables,
            "insert into {}organizations (id, name, created_at) values (?, ?, ?) \
             on conflict (id) do update set name = excluded.name",
        )
        .bind(id.to_string())
        .bind(name)
        .bind(micros(*created_at)),
        Row::Member { id, organization, member: Some((name, role)) } => query(
            tables,
            "insert into {}members (id, organization_id, name, role) values (?, ?, ?, ?) \
             on conflict (id) do update set name = excluded.name, role = excluded.role",
        )
        .bind(id.to_string())
        .bind(organization.to_string())
        .bind(name)
        .bind(role.as_str()),
        Row::Member { id, member: None, .. } => {
            query(tables, "delete from {}members where id = ?").bind(id.to_string())
        }
        Row::Token { id, organization, token: Some(token) } => query(
            tables,
            "insert into {}tokens (id, organization_id, document) values (?, ?, ?) \
             on conflict (id) do update set document = excluded.document",
        )
        .bind(id.to_string())
        .bind(organization.map(|id| id.to_string()))
        .bind(serde_json::to_string(token).unwrap_or_default()),
        Row::Token { id, token: None, .. } => {
            query(tables, "delete from {}tokens where id = ?").bind(id.to_string())
        }
        Row::QueuePause(order) => pause(tables, order),
        Row::WorkerDrain { worker, drain: order } => drain(tables, worker, order),
    };
    writing.execute(connection).await.map(|_| ())
}

/// Since when, by whom, why.
type Order = Option<(DateTime<Utc>, String, String)>;

fn pause(tables: Tables, order: &Order) -> Statement<'static> {
    let Some((since, by, reason)) = order else { return query(tables, "delete from {}queue_pauses") };
    let text = "insert into {}queue_pauses (id, since, paused_by, reason) values ('queue', ?, ?, ?) \
                on conflict (id) do update set since = excluded.since, paused_by = excluded.paused_by, \
                reason = excluded.reason";
    query(tables, text).bind(micros(*since)).bind(by.clone()).bind(reason.clone())
}

fn drain(tables: Tables, worker: &str, order: &Order) -> Statement<'static> {
    let worker = worker.to_owned();
    let Some((since, by, reason)) = order else {
        return query(tables, "delete from {}worker_drains where id = ?").bind(worker);
    };
    let text = "insert into {}worker_drains (id, since, drained_by, reason) values (?, ?, ?, ?) \
                on conflict (id) do update set since = excluded.since, drained_by = excluded.drained_by, \
                reason = excluded.reason";
    query(tables, text).bind(worker).bind(micros(*since)).bind(by.clone()).bind(reason.clone())
}
