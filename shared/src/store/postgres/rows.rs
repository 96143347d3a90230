//! Writes of the read models: one statement per table. The plan has seen to it that each id comes once.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{connections::Statement, insert::column};
use crate::{
    clock::micros,
    ids::{GatewayId, OrganizationId},
    store::{StoreError, stored::Tables},
    view::Row,
};

/// One row of `gateways`, `operations` or `agents`.
struct Document<'a> {
    id: String,
    organization: OrganizationId,
    gateway: GatewayId,
    status: &'a str,
    created_at: DateTime<Utc>,
    json: &'a str,
}

/// Rows by their table.
#[derive(Default)]
struct Sorted<'a> {
    gateways: Vec<Document<'a>>,
    operations: Vec<Document<'a>>,
    agents: Vec<Document<'a>>,
    organizations: Vec<(String, &'a str, DateTime<Utc>)>,
    members: Vec<(String, OrganizationId, &'a str, &'static str)>,
    members_gone: Vec<String>,
    tokens: Vec<(String, Option<OrganizationId>, String)>,
    tokens_gone: Vec<String>,
    gateways_gone: Vec<String>,
    agents_gone: Vec<String>,
    pauses: Vec<(DateTime<Utc>, &'a str, &'a str)>,
    resumes: bool,
    drains: Vec<(&'a str, DateTime<Utc>, &'a str, &'a str)>,
    drains_gone: Vec<String>,
}

/// Writes rows, each table's in one statement.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    rows: &[Row],
    tables: Tables,
) -> Result<(), StoreError> {
    for statement in sort(rows).statements(tables) {
        statement.execute(&mut *connection).await.map_err(StoreError::doing("write a read model"))?;
    }
    Ok(())
}

fn sort(rows: &[Row]) -> Sorted<'_> {
    let mut tables = Sorted::default();
    for row in rows {
        match row {
            Row::Gateway { id, organization, created_at, document } => tables.gateways.push(Document {
                id: id.to_string(),
                organization: *organization,
                gateway: *id,
                status: "",
                created_at: *created_at,
                json: document,
            }),
            Row::GatewayGone { id, agent } => {
                tables.gateways_gone.push(id.to_string());
                tables.agents_gone.push(agent.to_string());
            }
            Row::Operation { id, organization, gateway, status, created_at, document } => {
                tables.operations.push(Document {
                    id: id.to_string(),
                    organization: *organization,
                    gateway: *gateway,
                    status,
                    created_at: *created_at,
                    json: document,
                });
            }
            Row::Agent { id, organization, gateway, created_at, document } => tables.agents.push(Document {
                id: id.to_string(),
                organization: *organization,
                gateway: *gateway,
                status: "",
                created_at: *created_at,
                json: document,
            }),
            Row::Organization { id, name, created_at } => {
                tables.organizations.push((id.to_string(), name, *created_at));
            }
            Row::Member { id, organization, member: Some((name, role)) } => {
                tables.members.push((id.to_string(), *organization, name, role.as_str()));
            }
            Row::Member { id, member: None, .. } => tables.members_gone.push(id.to_string()),
            Row::Token { id, organization, token: Some(token) } => {
                let document = serde_json::to_string(token).unwrap_or_default();
                tables.tokens.push((id.to_string(), *organization, document));
            }
            Row::Token { id, token: None, .. } => tables.tokens_gone.push(id.to_string()),
            Row::QueuePause(Some((since, by, reason))) => tables.pauses.push((*since, by, reason)),
            Row::QueuePause(None) => tables.resumes = true,
            Row::WorkerDrain { worker, drain: Some((since, by, reason)) } => {
                tables.drains.push((worker, *since, by, reason));
            }
            Row::WorkerDrain { worker, drain: None } => tables.drains_gone.push(worker.clone()),
        }
    }
    tables
}

impl Sorted<'_> {
    fn statements(&self, tables: Tables) -> Vec<Statement> {
        let mut statements = self.documents(tables);
        statements.extend(self.others(tables));
        statements.extend(self.pauses(tables));
        statements
    }

    fn documents(&self, tables: Tables) -> Vec<Statement> {
        let mut statements = vec![];
        if !self.gateways.is_empty() {
            statements.push(
                query(
                    tables,
                    "insert into {}gateways (id, organization_id, created_at, document) \
                     select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) \
                     on conflict (id) do update set document = excluded.document",
                )
                .bind(column(&self.gateways, |row| row.id.as_str()))
                .bind(column(&self.gateways, |row| row.organization.to_string()))
                .bind(column(&self.gateways, |row| micros(row.created_at)))
                .bind(column(&self.gateways, |row| row.json)),
            );
        }
        if !self.operations.is_empty() {
            statements.push(
                query(tables, "insert into {}operations (id, organization_id, gateway_id, status, created_at, document) \
                     select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[]) \
                     on conflict (id) do update set status = excluded.status, document = excluded.document",
                )
                .bind(column(&self.operations, |row| row.id.as_str()))
                .bind(column(&self.operations, |row| row.organization.to_string()))
                .bind(column(&self.operations, |row| row.gateway.to_string()))
                .bind(column(&self.operations, |row| row.status))
                .bind(column(&self.operations, |row| micros(row.created_at)))
                .bind(column(&self.operations, |row| row.json)),
            );
        }
        if !self.agents.is_empty() {
            statements.push(
                query(
                    tables,
                    "insert into {}agents (id, organization_id, gateway_id, created_at, document) \
                     select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) \
                     on conflict (id) do update set document = excluded.document",
                )
                .bind(column(&self.agents, |row| row.id.as_str()))
                .bind(column(&self.agents, |row| row.organization.to_string()))
                .bind(column(&self.agents, |row| row.gateway.to_string()))
                .bind(column(&self.agents, |row| micros(row.created_at)))
                .bind(column(&self.agents, |row| row.json)),
            );
        }
        statements
    }

    fn others(&self, tables: Tables) -> Vec<Statement> {
        let mut statements = vec![];
        if !self.organizations.is_empty() {
            statements.push(
                query(
                    tables,
                    "insert into {}organizations (id, name, created_at) \
                     select * from unnest($1::text[], $2::text[], $3::bigint[]) \
                     on conflict (id) do update set name = excluded.name",
                )
                .bind(column(&self.organizations, |(id, ..)| id.as_str()))
                .bind(column(&self.organizations, |(_, name, _)| *name))
                .bind(column(&self.organizations, |(.., created_at)| micros(*created_at))),
            );
        }
        if !self.members.is_empty() {
            statements.push(
                query(
                    tables,
                    "insert into {}members (id, organization_id, name, role) \
                     select * from unnest($1::text[], $2::text[], $3::text[], $4::text[]) \
                     on conflict (id) do update set name = excluded.name, role = excluded.role",
                )
                .bind(column(&self.members, |(id, ..)| id.as_str()))
                .bind(column(&self.members, |(_, organization, ..)| organization.to_string()))
                .bind(column(&self.members, |(_, _, name, _)| *name))
                .bind(column(&self.members, |(.., role)| *role)),
            );
        }
        if !self.tokens.is_empty() {
            statements.push(
                query(
                    tables,
                    "insert into {}tokens (id, organization_id, document) \
                     select * from unnest($1::text[], $2::text[], $3::text[]) \
                     on conflict (id) do update set document = excluded.document",
                )
                .bind(column(&self.tokens, |(id, ..)| id.as_str()))
                .bind(column(&self.tokens, |(_, organization, _)| organization.map(|id| id.to_string())))
                .bind(column(&self.tokens, |(.., document)| document.as_str())),
            );
        }
        for (text, gone) in [
            ("delete from {}members where id = any($1)", &self.members_gone),
            ("delete from {}tokens where id = any($1)", &self.tokens_gone),
            ("delete from {}agents where id = any($1)", &self.agents_gone),
            ("delete from {}gateways where id = any($1)", &self.gateways_gone),
            ("delete from {}worker_drains where id = any($1)", &self.drains_gone),
        ] {
            if !gone.is_empty() {
                statements.push(query(tables, text).bind(gone));
            }
        }
        statements
    }

    fn pauses(&self, tables: Tables) -> Vec<Statement> {
        let mut statements = vec![];
        for (since, by, reason) in &self.pauses {
            statements.push(
                query(tables, "insert into {}queue_pauses (id, since, paused_by, reason) values ('queue', $1, $2, $3) \
                         on conflict (id) do update set since = excluded.since, paused_by = excluded.paused_by, \
                         reason = excluded.reason",
                    )
                    .bind(micros(*since))
                    .bind((*by).to_owned())
                    .bind((*reason).to_owned()),
            );
        }
        if self.resumes {
            statements.push(query(tables, "delete from {}queue_pauses"));
        }
        if !self.drains.is_empty() {
            statements.push(
                query(
                    tables,
                    "insert into {}worker_drains (id, since, drained_by, reason) \
                     select * from unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) \
                     on conflict (id) do update set since = excluded.since, drained_by = excluded.drained_by, \
                     reason = excluded.reason",
                )
                .bind(column(&self.drains, |(worker, ..)| *worker))
                .bind(column(&self.drains, |(_, since, ..)| micros(*since)))
                .bind(column(&self.drains, |(_, _, by, _)| *by))
                .bind(column(&self.drains, |(.., reason)| *reason)),
            );
        }
        statements
    }
}

/// A statement with `{}` before the name of each table.
fn query(tables: Tables, text: &'static str) -> Statement {
    sqlx::query(sqlx::AssertSqlSafe(tables.name(text)))
}
