//! Read models, keys, secrets and credentials.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Row as _, SqliteConnection, SqliteExecutor, SqlitePool, sqlite::SqliteRow};

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

pub(super) async fn gateway(
    pool: &SqlitePool,
    owner: OrganizationId,
    id: GatewayId,
) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("select document from gateways where id = ? and organization_id = ?")
        .bind(id.to_string())
        .bind(owner.to_string())
        .fetch_optional(pool)
        .await
        .map_err(StoreError::doing("read a gateway"))
}

pub(super) async fn gateways(
    pool: &SqlitePool,
    owner: OrganizationId,
    limit: u32,
    offset: u64,
) -> Result<Page, StoreError> {
    let failed = || StoreError::doing("list gateways");
    let items = sqlx::query_scalar(
        "select document from gateways where organization_id = ? order by created_at desc, id desc limit ? offset ?",
    )
    .bind(owner.to_string())
    .bind(i64::from(limit))
    .bind(signed(offset))
    .fetch_all(pool)
    .await
    .map_err(failed())?;
    let total: i64 = sqlx::query_scalar("select count(*) from gateways where organization_id = ?")
        .bind(owner.to_string())
        .fetch_one(pool)
        .await
        .map_err(failed())?;
    Ok(Page { items, total: unsigned(total) })
}

pub(super) async fn operations(
    pool: &SqlitePool,
    ids: &[OperationId],
) -> Result<Vec<StoredOperation>, StoreError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query(
        "select o.id, o.organization_id, o.status, o.document, \
         exists (select 1 from jobs j where j.operation_id = o.id and j.lease_token is not null), o.created_at \
         from operations o where o.id in (select value from json_each(?))",
    )
    .bind(serde_json::Value::from(ids).to_string())
    .fetch_all(pool)
    .await
    .map_err(StoreError::doing("read operations"))?;
    rows.iter().map(operation).collect()
}

fn operation(row: &SqliteRow) -> Result<StoredOperation, StoreError> {
    Ok(StoredOperation {
        id: parse("operation id", row.get(0))?,
        organization: parse("organization id", row.get(1))?,
        status: row.get(2),
        document: row.get(3),
        running: row.get::<i64, _>(4) != 0,
        created_at: from_micros(row.get(5)),
    })
}

pub(super) async fn operations_page(
    pool: &SqlitePool,
    (owner, status): (OrganizationId, Option<&str>),
    before: Option<(DateTime<Utc>, OperationId)>,
    limit: u32,
) -> Result<Vec<StoredOperation>, StoreError> {
    let (at, id) = before.unzip();
    let rows = sqlx::query(
        "select id, organization_id, status, document, running, created_at from ( \
             select o.*, exists (select 1 from jobs j where j.operation_id = o.id and j.lease_token is not null) \
                    as running from operations o) \
         where organization_id = ?1 and (?2 is null or ?2 = case \
             when running and status in ('pending', 'awaiting_pairing') then 'running' else status end) \
         and (?3 is null or (created_at, id) < (?3, ?4)) order by created_at desc, id desc limit ?5",
    )
    .bind(owner.to_string())
    .bind(status)
    .bind(at.map(micros))
    .bind(id.map(|id| id.to_string()))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(StoreError::doing("list operations"))?;
    rows.iter().map(operation).collect()
}

pub(super) async fn observe(
    connection: &mut SqliteConnection,
    gateway: GatewayId,
    document: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into observations (gateway_id, document) values (?, ?) \
         on conflict (gateway_id) do update set document = excluded.document",
    )
    .bind(gateway.to_string())
    .bind(document)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(StoreError::doing("keep an observation"))
}

pub(super) async fn observation(pool: &SqlitePool, gateway: GatewayId) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("select document from observations where gateway_id = ?")
        .bind(gateway.to_string())
        .fetch_optional(pool)
        .await
        .map_err(StoreError::doing("read an observation"))
}

pub(super) async fn agent(
    pool: &SqlitePool,
    owner: OrganizationId,
    id: AgentId,
) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("select document from agents where id = ? and organization_id = ?")
        .bind(id.to_string())
        .bind(owner.to_string())
        .fetch_optional(pool)
        .await
        .map_err(StoreError::doing("read an agent"))
}

pub(super) async fn organizations(pool: &SqlitePool) -> Result<Vec<OrganizationRow>, StoreError> {
    let rows = sqlx::query("select id, name, created_at from organizations order by created_at, id")
        .fetch_all(pool)
        .await
        .map_err(StoreError::doing("list organizations"))?;
    rows.into_iter()
        .map(|row| {
            Ok(OrganizationRow {
                id: parse("organization id", row.get(0))?,
                name: row.get(1),
                created_at: from_micros(row.get(2)),
            })
        })
        .collect()
}

pub(super) async fn members(pool: &SqlitePool, owner: OrganizationId) -> Result<Vec<MemberRow>, StoreError> {
    let rows = sqlx::query("select id, name, role from members where organization_id = ? order by id")
        .bind(owner.to_string())
        .fetch_all(pool)
        .await
        .map_err(StoreError::doing("list members"))?;
    rows.into_iter()
        .map(|row| {
            Ok(MemberRow {
                id: parse("member id", row.get(0))?,
                name: row.get(1),
                role: parse_role(row.get(2))?,
            })
        })
        .collect()
}

pub(super) async fn tokens(
    pool: &SqlitePool,
    owner: Option<OrganizationId>,
) -> Result<Vec<Token>, StoreError> {
    let rows: Vec<String> =
        sqlx::query_scalar("select document from tokens where organization_id is ? order by id")
            .bind(owner.map(|id| id.to_string()))
            .fetch_all(pool)
            .await
            .map_err(StoreError::doing("list tokens"))?;
    rows.into_iter().map(|document| parse_json("token", document)).collect()
}

pub(super) async fn token_owner(
    pool: &SqlitePool,
    id: TokenId,
) -> Result<Option<Option<OrganizationId>>, StoreError> {
    let row: Option<Option<String>> = sqlx::query_scalar("select organization_id from tokens where id = ?")
        .bind(id.to_string())
        .fetch_optional(pool)
        .await
        .map_err(StoreError::doing("find a token"))?;
    row.map(|owner| owner.map(|id| parse("organization id", id)).transpose()).transpose()
}

pub(super) async fn credential(pool: &SqlitePool, hash: &[u8]) -> Result<Option<Credential>, StoreError> {
    let row = sqlx::query(
        "select c.subject, t.organization_id, t.document, m.name, m.role from credentials c \
         left join tokens t on t.id = c.subject \
         left join members m on m.id = json_extract(t.document, '$.member') and m.organization_id = t.organization_id \
         where c.hash = ?",
    )
    .bind(hash)
    .fetch_optional(pool)
    .await
    .map_err(StoreError::doing("look a token up"))?;
    let Some(row) = row else { return Ok(None) };
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
    executor: impl SqliteExecutor<'_>,
    (organization, route, key): (OrganizationId, &str, &str),
    now: DateTime<Utc>,
) -> Result<Option<KeyClaim>, StoreError> {
    let row = sqlx::query(
        "select fingerprint, operation_id, created_at from idempotency_keys \
         where organization_id = ? and route = ? and key = ? and created_at > ?",
    )
    .bind(organization.to_string())
    .bind(route)
    .bind(key)
    .bind(micros(now - TimeDelta::hours(KEY_KEPT_HOURS)))
    .fetch_optional(executor)
    .await
    .map_err(StoreError::doing("look an idempotency key up"))?;
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

pub(super) async fn secret(pool: &SqlitePool, owner: &str) -> Result<Option<Sealed>, StoreError> {
    let row = sqlx::query("select key_id, nonce, ciphertext from secrets where owner = ?")
        .bind(owner)
        .fetch_optional(pool)
        .await
        .map_err(StoreError::doing("read a sealed secret"))?;
    Ok(row.map(|row| Sealed { key_id: row.get(0), nonce: row.get(1), ciphertext: row.get(2) }))
}

pub(super) async fn installation_value(
    connection: &mut SqliteConnection,
    name: &str,
    or_put: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let failed = || StoreError::doing("keep a value of the installation");
    if let Some(value) = or_put {
        sqlx::query("insert into installation (name, value) values (?, ?) on conflict (name) do nothing")
            .bind(name)
            .bind(value)
            .execute(&mut *connection)
            .await
            .map_err(failed())?;
    }
    sqlx::query_scalar("select value from installation where name = ?")
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(failed())
}
