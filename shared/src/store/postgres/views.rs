//! Reads of the read models, keys, secrets and credentials.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Row as _, postgres::PgRow};

use super::connections::{Lines, Statement};
use crate::{
    clock::{from_micros, micros},
    commit::{KEY_KEPT_HOURS, KeyClaim, Sealed},
    domain::organization::Token,
    ids::{AgentId, GatewayId, OperationId, OrganizationId, TokenId},
    store::{
        Credential, MemberRow, OrganizationRow, Page, StoreError, StoredOperation,
        stored::{parse, parse_json, parse_role, signed, unsigned},
    },
};

async fn one(
    lines: &Lines,
    doing: &'static str,
    statement: impl Fn() -> Statement + Send + Sync,
) -> Result<Option<PgRow>, StoreError> {
    Ok(lines.fetch(doing, statement).await?.into_iter().next())
}

pub(super) async fn gateway(
    lines: &Lines,
    owner: OrganizationId,
    id: GatewayId,
) -> Result<Option<String>, StoreError> {
    let statement = || {
        sqlx::query("select document from gateways where id = $1 and organization_id = $2")
            .bind(id.to_string())
            .bind(owner.to_string())
    };
    Ok(one(lines, "read a gateway", statement).await?.map(|row| row.get(0)))
}

pub(super) async fn gateways(
    lines: &Lines,
    owner: OrganizationId,
    limit: u32,
    offset: u64,
) -> Result<Page, StoreError> {
    let page = || {
        sqlx::query(
            "select document from gateways where organization_id = $1 order by created_at desc, id desc \
             limit $2 offset $3",
        )
        .bind(owner.to_string())
        .bind(i64::from(limit))
        .bind(signed(offset))
    };
    let count =
        || sqlx::query("select count(*) from gateways where organization_id = $1").bind(owner.to_string());
    let items = lines.fetch("list gateways", page).await?.iter().map(|row| row.get(0)).collect();
    let total = one(lines, "count gateways", count).await?.map_or(0, |row| unsigned(row.get(0)));
    Ok(Page { items, total })
}

pub(super) async fn operations(
    lines: &Lines,
    ids: &[OperationId],
) -> Result<Vec<StoredOperation>, StoreError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let statement = || {
        sqlx::query(
            "select o.id, o.organization_id, o.status, o.document, \
                    exists (select 1 from jobs j where j.operation_id = o.id and j.lease_token is not null), \
                    o.created_at from operations o where o.id = any($1)",
        )
        .bind(&ids)
    };
    let rows = lines.fetch("read operations", statement).await?;
    rows.iter().map(operation).collect()
}

fn operation(row: &PgRow) -> Result<StoredOperation, StoreError> {
    Ok(StoredOperation {
        id: parse("operation id", row.get(0))?,
        organization: parse("organization id", row.get(1))?,
        status: row.get(2),
        document: row.get(3),
        running: row.get(4),
        created_at: from_micros(row.get(5)),
    })
}

pub(super) async fn operations_page(
    lines: &Lines,
    (owner, status): (OrganizationId, Option<&str>),
    before: Option<(DateTime<Utc>, OperationId)>,
    limit: u32,
) -> Result<Vec<StoredOperation>, StoreError> {
    let (at, id) = before.unzip();
    let statement = || {
        sqlx::query(
            "select id, organization_id, status, document, running, created_at from ( \
                 select o.*, exists (select 1 from jobs j where j.operation_id = o.id and j.lease_token is not null) \
                        as running from operations o) o \
             where organization_id = $1 and ($2 is null or $2 = case \
                 when running and status in ('pending', 'awaiting_pairing') then 'running' else status end) \
             and ($3::bigint is null or (created_at, id) < ($3, $4)) order by created_at desc, id desc limit $5",
        )
        .bind(owner.to_string())
        .bind(status.map(str::to_owned))
        .bind(at.map(micros))
        .bind(id.map(|id| id.to_string()))
        .bind(i64::from(limit))
    };
    lines.fetch("list operations", statement).await?.iter().map(operation).collect()
}

pub(super) async fn observe(lines: &Lines, gateway: GatewayId, document: &str) -> Result<(), StoreError> {
    let statement = || {
        sqlx::query(
            "insert into observations (gateway_id, document) values ($1, $2) \
             on conflict (gateway_id) do update set document = excluded.document",
        )
        .bind(gateway.to_string())
        .bind(document.to_owned())
    };
    lines.fetch("keep an observation", statement).await.map(|_| ())
}

pub(super) async fn observation(lines: &Lines, gateway: GatewayId) -> Result<Option<String>, StoreError> {
    let statement =
        || sqlx::query("select document from observations where gateway_id = $1").bind(gateway.to_string());
    Ok(one(lines, "read an observation", statement).await?.map(|row| row.get(0)))
}

pub(super) async fn agent(
    lines: &Lines,
    owner: OrganizationId,
    id: AgentId,
) -> Result<Option<String>, StoreError> {
    let statement = || {
        sqlx::query("select document from agents where id = $1 and organization_id = $2")
            .bind(id.to_string())
            .bind(owner.to_string())
    };
    Ok(one(lines, "read an agent", statement).await?.map(|row| row.get(0)))
}

pub(super) async fn organizations(lines: &Lines) -> Result<Vec<OrganizationRow>, StoreError> {
    let statement = || sqlx::query("select id, name, created_at from organizations order by created_at, id");
    let rows = lines.fetch("list organizations", statement).await?;
    rows.iter()
        .map(|row| {
            Ok(OrganizationRow {
                id: parse("organization id", row.get(0))?,
                name: row.get(1),
                created_at: from_micros(row.get(2)),
            })
        })
        .collect()
}

pub(super) async fn members(lines: &Lines, owner: OrganizationId) -> Result<Vec<MemberRow>, StoreError> {
    let statement = || {
        sqlx::query("select id, name, role from members where organization_id = $1 order by id")
            .bind(owner.to_string())
    };
    let rows = lines.fetch("list members", statement).await?;
    rows.iter()
        .map(|row| {
            Ok(MemberRow {
                id: parse("member id", row.get(0))?,
                name: row.get(1),
                role: parse_role(row.get(2))?,
            })
        })
        .collect()
}

pub(super) async fn tokens(lines: &Lines, owner: Option<OrganizationId>) -> Result<Vec<Token>, StoreError> {
    let statement = || {
        sqlx::query(
            "select document from tokens \
             where organization_id = $1 or ($1 is null and organization_id is null) order by id",
        )
        .bind(owner.map(|id| id.to_string()))
    };
    let rows = lines.fetch("list tokens", statement).await?;
    rows.iter().map(|row| parse_json("token", row.get(0))).collect()
}

pub(super) async fn token_owner(
    lines: &Lines,
    id: TokenId,
) -> Result<Option<Option<OrganizationId>>, StoreError> {
    let statement = || sqlx::query("select organization_id from tokens where id = $1").bind(id.to_string());
    let row: Option<Option<String>> = one(lines, "find a token", statement).await?.map(|row| row.get(0));
    row.map(|owner| owner.map(|id| parse("organization id", id)).transpose()).transpose()
}

pub(super) async fn credential(lines: &Lines, hash: &[u8]) -> Result<Option<Credential>, StoreError> {
    let statement = || {
        sqlx::query(
            "select c.subject, t.organization_id, t.document, m.name, m.role from credentials c \
             left join tokens t on t.id = c.subject \
             left join members m on m.id = t.document::json ->> 'member' and m.organization_id = t.organization_id \
             where c.hash = $1",
        )
        .bind(hash)
    };
    let Some(row) = one(lines, "look a token up", statement).await? else { return Ok(None) };
    let subject: String = row.get(0);
    let Some(document) = row.get::<Option<String>, _>(2) else {
        return Ok(subject.parse().ok().map(|agent| Credential::Agent { agent }));
    };
    let organization: Option<String> = row.get(1);
    let name: Option<String> = row.get(3);
    let role: Option<String> = row.get(4);
    Ok(Some(Credential::Token {
        organization: organization.map(|id| parse("organization id", id)).transpose()?,
        token: parse_json("token", document)?,
        member: name.zip(role).map(|(name, role)| parse_role(&role).map(|role| (name, role))).transpose()?,
    }))
}

pub(super) async fn key(
    lines: &Lines,
    (organization, route, key): (OrganizationId, &str, &str),
    now: DateTime<Utc>,
) -> Result<Option<KeyClaim>, StoreError> {
    let statement = || {
        sqlx::query(
            "select fingerprint, operation_id, created_at from idempotency_keys \
             where organization_id = $1 and route = $2 and key = $3 and created_at > $4",
        )
        .bind(organization.to_string())
        .bind(route)
        .bind(key)
        .bind(micros(now - TimeDelta::hours(KEY_KEPT_HOURS)))
    };
    let row = one(lines, "look an idempotency key up", statement).await?;
    row.map(|row| {
        Ok(KeyClaim {
            organization,
            route: route.to_owned(),
            key: key.to_owned(),
            fingerprint: row.get(0),
            operation: parse("operation id", row.get(1))?,
            created_at: from_micros(row.get(2)),
        })
    })
    .transpose()
}

pub(super) async fn secret(lines: &Lines, owner: &str) -> Result<Option<Sealed>, StoreError> {
    let statement =
        || sqlx::query("select key_id, nonce, ciphertext from secrets where owner = $1").bind(owner);
    let row = one(lines, "read a sealed secret", statement).await?;
    Ok(row.map(|row| Sealed { key_id: row.get(0), nonce: row.get(1), ciphertext: row.get(2) }))
}

pub(super) async fn installation_value(lines: &Lines, name: &str) -> Result<Option<String>, StoreError> {
    let statement = || sqlx::query("select value from installation where name = $1").bind(name);
    Ok(one(lines, "read a value of the installation", statement).await?.map(|row| row.get(0)))
}
