//! The schedule of probes, on the only connection that writes.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::SqliteStore;
use crate::{
    clock::{from_micros, micros},
    commit::Sealed,
    ids::LeaseToken,
    store::{
        DueProbe, NewProbe, ProbeClaim, Probed, Probing, StoreError, Tidied, Unprobed,
        stored::{parse, parse_json},
    },
};

/// Of each gateway key without a running or due job, and without a running probe, the earliest.
const CLAIM: &str = "update probes set token = ?1, run_at = ?2 where gateway_id in ( \
         select gateway_id from probes p where run_at <= ?3 \
             and not exists (select 1 from queue_pauses) \
             and not exists (select 1 from jobs j where j.gateway_key = p.gateway_key \
                                                    and (j.lease_token is not null or j.run_at <= ?3)) \
             and not exists (select 1 from probes o where o.gateway_key = p.gateway_key \
                                                      and o.gateway_id <> p.gateway_id \
                                                      and (o.token is not null \
                                                           or (o.run_at, o.gateway_id) < (p.run_at, p.gateway_id))) \
         order by run_at, gateway_id limit ?4)";

const READ: &str = "select p.gateway_id, p.tally, g.document, o.document, s.key_id, s.nonce, s.ciphertext, d.key_id, \
            d.nonce, d.ciphertext \
     from probes p join gateways g on g.id = p.gateway_id \
         left join observations o on o.gateway_id = p.gateway_id \
         left join secrets s on s.owner = 'gateway-' || p.gateway_id || '/token' \
         left join secrets d on d.owner = 'gateway-' || p.gateway_id || '/device-token' \
     where p.token = ? and p.run_at = ?";

#[async_trait]
impl Probing for SqliteStore {
    async fn unprobed(&self, limit: u32) -> Result<Vec<Unprobed>, StoreError> {
        let rows = sqlx::query(
            "select id, created_at, document from gateways \
             where id not in (select gateway_id from probes) limit ?",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::doing("look for gateways that are not probed"))?;
        rows.iter()
            .map(|row| {
                Ok(Unprobed {
                    gateway: parse("gateway id", row.get(0))?,
                    created_at: from_micros(row.get(1)),
                    document: row.get(2),
                })
            })
            .collect()
    }

    async fn enrol_probes(&self, probes: &[NewProbe], now: DateTime<Utc>) -> Result<u64, StoreError> {
        let rows: serde_json::Value = probes
            .iter()
            .map(|probe| json!({"id": probe.gateway, "key": probe.gateway_key, "at": micros(now + probe.delay)}))
            .collect();
        let rows = rows.to_string();
        self.write("schedule probes", move |connection| {
            Box::pin(async move {
                let statement = "insert into probes (gateway_id, gateway_key, run_at, tally) \
                     select value ->> 'id', value ->> 'key', value ->> 'at', '{}' from json_each(?) \
                     where true on conflict (gateway_id) do nothing";
                changed(sqlx::query(statement).bind(rows), connection, "schedule probes").await
            })
        })
        .await
    }

    async fn tidy_probes(&self, usual: Duration, now: DateTime<Utc>) -> Result<Tidied, StoreError> {
        const DOING: &str = "put the schedule of probes in order";
        self.write(DOING, move |connection| {
            Box::pin(async move {
                let gone = "delete from probes where gateway_id not in (select id from gateways)";
                let dropped = changed(sqlx::query(gone), connection, DOING).await?;
                let resume = "update probes set run_at = ?1, token = null, tally = '{}' \
                     where token is null and (run_at is null or run_at > ?2) and exists ( \
                         select 1 from gateways g where g.id = gateway_id \
                             and g.document like '%\"status\":\"active\"%')";
                let resume = sqlx::query(resume).bind(micros(now)).bind(micros(now + usual));
                Ok(Tidied { dropped, resumed: changed(resume, connection, DOING).await? })
            })
        })
        .await
    }

    async fn claim_probes(&self, claim: ProbeClaim) -> Result<Vec<DueProbe>, StoreError> {
        const DOING: &str = "claim probes";
        self.write(DOING, move |connection| {
            Box::pin(async move {
                let token = LeaseToken::mint(claim.now);
                let until = micros(claim.now + claim.lease);
                let claimed = sqlx::query(CLAIM)
                    .bind(token.to_string())
                    .bind(until)
                    .bind(micros(claim.now))
                    .bind(i64::from(claim.limit));
                if changed(claimed, connection, DOING).await? == 0 {
                    return Ok(vec![]);
                }
                let rows = sqlx::query(READ).bind(token.to_string()).bind(until);
                let rows = rows.fetch_all(connection).await.map_err(StoreError::doing(DOING))?;
                rows.iter().map(|row| due(row, token)).collect()
            })
        })
        .await
    }

    async fn end_probes(&self, probed: &[Probed], now: DateTime<Utc>) -> Result<u64, StoreError> {
        const DOING: &str = "end probes";
        let probed = probed.to_vec();
        self.write(DOING, move |connection| {
            Box::pin(async move {
                let mut ended = 0;
                for probed in probed {
                    let tally = serde_json::to_string(&probed.tally).unwrap_or_else(|_| "{}".to_owned());
                    let end = sqlx::query(
                        "update probes set token = null, gateway_key = ?, tally = ?, run_at = ? \
                         where gateway_id = ? and token = ?",
                    )
                    .bind(probed.gateway_key)
                    .bind(tally)
                    .bind(probed.next.map(|next| micros(now + next)))
                    .bind(probed.gateway.to_string())
                    .bind(probed.token.to_string());
                    if changed(end, connection, DOING).await? == 0 {
                        continue;
                    }
                    ended += 1;
                    if let Some(document) = &probed.observation {
                        super::views::observe(connection, probed.gateway, document).await?;
                    }
                }
                Ok(ended)
            })
        })
        .await
    }
}

async fn changed(
    statement: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    connection: &mut SqliteConnection,
    doing: &'static str,
) -> Result<u64, StoreError> {
    statement.execute(connection).await.map(|done| done.rows_affected()).map_err(StoreError::doing(doing))
}

fn due(row: &SqliteRow, token: LeaseToken) -> Result<DueProbe, StoreError> {
    let sealed = |at: usize| {
        let key_id: Option<String> = row.get(at);
        key_id.map(|key_id| Sealed { key_id, nonce: row.get(at + 1), ciphertext: row.get(at + 2) })
    };
    Ok(DueProbe {
        gateway: parse("gateway id", row.get(0))?,
        token,
        tally: parse_json("tally of probes", row.get(1))?,
        document: row.get(2),
        observation: row.get(3),
        gateway_token: sealed(4),
        device_token: sealed(7),
    })
}
