//! Main agents and their check-ins. A check-in is kept among the observations, under the agent's own id.

use chrono::{DateTime, Utc};
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use crate::{
    clock::{from_micros, micros},
    ids::{AgentId, GatewayId, OrganizationId},
    store::{
        Page, StoreError,
        stored::{parse, signed, unsigned},
    },
};

pub(super) async fn agents(
    pool: &SqlitePool,
    owner: OrganizationId,
    (limit, offset): (u32, u64),
) -> Result<Page, StoreError> {
    let failed = || StoreError::doing("list agents");
    let items = sqlx::query_scalar(
        "select document from agents where organization_id = ? order by created_at desc, id desc limit ? offset ?",
    )
    .bind(owner.to_string())
    .bind(i64::from(limit))
    .bind(signed(offset))
    .fetch_all(pool)
    .await
    .map_err(failed())?;
    let total: i64 = sqlx::query_scalar("select count(*) from agents where organization_id = ?")
        .bind(owner.to_string())
        .fetch_one(pool)
        .await
        .map_err(failed())?;
    Ok(Page { items, total: unsigned(total) })
}

pub(super) async fn check_in(
    connection: &mut SqliteConnection,
    agent: AgentId,
    at: DateTime<Utc>,
) -> Result<Option<GatewayId>, StoreError> {
    sqlx::query(
        "insert into observations (gateway_id, document) values (?, ?) \
         on conflict (gateway_id) do update set document = excluded.document",
    )
    .bind(agent.to_string())
    .bind(micros(at).to_string())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing("keep a check-in"))?;
    let gateway: Option<String> = sqlx::query_scalar(
        "select gateway_id from agents where id = ? and document not like '%\"status\":\"checked_in\"%'",
    )
    .bind(agent.to_string())
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("keep a check-in"))?;
    gateway.map(|gateway| parse("gateway id", gateway)).transpose()
}

pub(super) async fn check_ins(
    pool: &SqlitePool,
    agents: &[AgentId],
) -> Result<Vec<(AgentId, DateTime<Utc>)>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let rows = sqlx::query(
        "select gateway_id, document from observations where gateway_id in (select value from json_each(?))",
    )
    .bind(serde_json::Value::from(ids).to_string())
    .fetch_all(pool)
    .await
    .map_err(StoreError::doing("read check-ins"))?;
    rows.iter()
        .map(|row| {
            Ok((parse("agent id", row.get(0))?, from_micros(parse("time of a check-in", row.get(1))?)))
        })
        .collect()
}
