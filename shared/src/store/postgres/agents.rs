//! Main agents and their check-ins. A check-in is kept among the observations, under the agent's own id.

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::connections::Lines;
use crate::{
    clock::{from_micros, micros},
    ids::{AgentId, GatewayId, OrganizationId},
    store::{
        Page, StoreError,
        stored::{parse, signed, unsigned},
    },
};

pub(super) async fn agents(
    lines: &Lines,
    owner: OrganizationId,
    (limit, offset): (u32, u64),
) -> Result<Page, StoreError> {
    let page = || {
        sqlx::query(
            "select document from agents where organization_id = $1 order by created_at desc, id desc \
             limit $2 offset $3",
        )
        .bind(owner.to_string())
        .bind(i64::from(limit))
        .bind(signed(offset))
    };
    let count =
        || sqlx::query("select count(*) from agents where organization_id = $1").bind(owner.to_string());
    let items = lines.fetch("list agents", page).await?.iter().map(|row| row.get(0)).collect();
    let total = lines.fetch("count agents", count).await?.first().map_or(0, |row| unsigned(row.get(0)));
    Ok(Page { items, total })
}

pub(super) async fn check_in(
    lines: &Lines,
    agent: AgentId,
    at: DateTime<Utc>,
) -> Result<Option<GatewayId>, StoreError> {
    let statement = || {
        sqlx::query(
            "with kept as ( \
                 insert into observations (gateway_id, document) values ($1, $2) \
                 on conflict (gateway_id) do update set document = excluded.document) \
             select gateway_id from agents where id = $1 and document not like '%\"status\":\"checked_in\"%'",
        )
        .bind(agent.to_string())
        .bind(micros(at).to_string())
    };
    let rows = lines.fetch("keep a check-in", statement).await?;
    rows.first().map(|row| parse("gateway id", row.get(0))).transpose()
}

pub(super) async fn check_ins(
    lines: &Lines,
    agents: &[AgentId],
) -> Result<Vec<(AgentId, DateTime<Utc>)>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let statement =
        || sqlx::query("select gateway_id, document from observations where gateway_id = any($1)").bind(&ids);
    let rows = lines.fetch("read check-ins", statement).await?;
    rows.iter()
        .map(|row| {
            Ok((parse("agent id", row.get(0))?, from_micros(parse("time of a check-in", row.get(1))?)))
        })
        .collect()
}
