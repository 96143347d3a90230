//! The schedule of probes, by the clock of the database.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row as _, postgres::PgRow};

use super::PostgresStore;
use crate::{
    clock::from_micros,
    commit::Sealed,
    ids::LeaseToken,
    store::{
        DueProbe, NewProbe, ProbeClaim, Probed, Probing, StoreError, Tidied, Unprobed,
        stored::{parse, parse_json, unsigned},
    },
};

/// Of each gateway key without a running or due job, and without a running probe, the earliest.
const CLAIM: &str = "with due as materialized ( \
         select p.gateway_id from probes p \
         where p.run_at <= queue_now() \
           and not exists (select 1 from queue_pauses) \
           and not exists (select 1 from jobs j where j.gateway_key = p.gateway_key \
                                                  and (j.lease_token is not null or j.run_at <= queue_now())) \
           and not exists (select 1 from probes o where o.gateway_key = p.gateway_key \
                                                    and o.gateway_id <> p.gateway_id \
                                                    and (o.token is not null \
                                                         or (o.run_at, o.gateway_id) < (p.run_at, p.gateway_id))) \
         order by p.run_at, p.gateway_id limit $1 for update of p skip locked), \
     taken as ( \
         update probes p set token = $2, run_at = queue_now() + $3 * interval '1 microsecond' \
         from due where p.gateway_id = due.gateway_id returning p.gateway_id, p.tally) \
     select t.gateway_id, t.tally, g.document, o.document, s.key_id, s.nonce, s.ciphertext, d.key_id, d.nonce, \
            d.ciphertext \
     from taken t join gateways g on g.id = t.gateway_id \
         left join observations o on o.gateway_id = t.gateway_id \
         left join secrets s on s.owner = 'gateway-' || t.gateway_id || '/token' \
         left join secrets d on d.owner = 'gateway-' || t.gateway_id || '/device-token'";

const END: &str = "with seen as materialized ( \
         select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[]) \
             as s (gateway_id, token, gateway_key, tally, next, document)), \
     ended as ( \
         update probes p set token = null, gateway_key = s.gateway_key, tally = s.tally, \
                             run_at = queue_now() + s.next * interval '1 microsecond' \
         from seen s where p.gateway_id = s.gateway_id and p.token = s.token returning p.gateway_id), \
     kept as ( \
         insert into observations (gateway_id, document) \
         select s.gateway_id, s.document from seen s join ended using (gateway_id) where s.document is not null \
         on conflict (gateway_id) do update set document = excluded.document) \
     select count(*) from ended";

#[async_trait]
impl Probing for PostgresStore {
    async fn unprobed(&self, limit: u32) -> Result<Vec<Unprobed>, StoreError> {
        let statement = || {
            sqlx::query(
                "select id, created_at, document from gateways g \
                 where not exists (select 1 from probes p where p.gateway_id = g.id) limit $1",
            )
            .bind(i64::from(limit))
        };
        let rows = self.reads().await?.fetch("look for gateways that are not probed", statement).await?;
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

    async fn enrol_probes(&self, probes: &[NewProbe], _: DateTime<Utc>) -> Result<u64, StoreError> {
        let ids: Vec<String> = probes.iter().map(|probe| probe.gateway.to_string()).collect();
        let keys: Vec<String> = probes.iter().map(|probe| probe.gateway_key.clone()).collect();
        let delays: Vec<i64> = probes.iter().map(|probe| micros(probe.delay)).collect();
        let statement = || {
            sqlx::query(
                "with new as ( \
                     insert into probes (gateway_id, gateway_key, run_at, tally) \
                     select n.id, n.key, queue_now() + n.delay * interval '1 microsecond', '{}' \
                     from unnest($1::text[], $2::text[], $3::bigint[]) as n (id, key, delay) \
                     on conflict (gateway_id) do nothing returning 1) \
                 select count(*) from new",
            )
            .bind(ids.clone())
            .bind(keys.clone())
            .bind(delays.clone())
        };
        Ok(count(&self.queue().await?.fetch("schedule probes", statement).await?))
    }

    async fn tidy_probes(&self, usual: Duration, _: DateTime<Utc>) -> Result<Tidied, StoreError> {
        let statement = || {
            sqlx::query(
                "with gone as ( \
                     delete from probes p where not exists (select 1 from gateways g where g.id = p.gateway_id) \
                     returning 1), \
                 resumed as ( \
                     update probes p set run_at = queue_now(), token = null, tally = '{}' \
                     from gateways g \
                     where g.id = p.gateway_id and g.document like '%\"status\":\"active\"%' \
                       and p.token is null \
                       and (p.run_at is null or p.run_at > queue_now() + $1 * interval '1 microsecond') \
                     returning 1) \
                 select (select count(*) from gone), (select count(*) from resumed)",
            )
            .bind(micros(usual))
        };
        let rows = self.queue().await?.fetch("put the schedule of probes in order", statement).await?;
        let tidied = |row: &PgRow| Tidied { dropped: unsigned(row.get(0)), resumed: unsigned(row.get(1)) };
        Ok(rows.first().map(tidied).unwrap_or_default())
    }

    async fn claim_probes(&self, claim: ProbeClaim) -> Result<Vec<DueProbe>, StoreError> {
        let token = LeaseToken::mint(claim.now);
        let statement = || {
            sqlx::query(CLAIM).bind(i64::from(claim.limit)).bind(token.to_string()).bind(micros(claim.lease))
        };
        match self.queue().await?.try_fetch(statement).await {
            Ok(rows) => rows.iter().map(|row| due(row, token)).collect(),
            // Another claim was faster with the same key; this one is soon repeated anyhow.
            Err(error) if super::queue::met_another(&error) => Ok(vec![]),
            Err(source) => Err(StoreError::doing("claim probes")(source)),
        }
    }

    async fn end_probes(&self, probed: &[Probed], _: DateTime<Utc>) -> Result<u64, StoreError> {
        let column = |of: fn(&Probed) -> String| probed.iter().map(of).collect::<Vec<String>>();
        let [ids, tokens, keys] = [
            column(|probed| probed.gateway.to_string()),
            column(|probed| probed.token.to_string()),
            column(|probed| probed.gateway_key.clone()),
        ];
        let tallies =
            column(|probed| serde_json::to_string(&probed.tally).unwrap_or_else(|_| "{}".to_owned()));
        let next: Vec<Option<i64>> = probed.iter().map(|probed| probed.next.map(micros)).collect();
        let seen: Vec<Option<String>> = probed.iter().map(|probed| probed.observation.clone()).collect();
        let statement = || {
            sqlx::query(END)
                .bind(ids.clone())
                .bind(tokens.clone())
                .bind(keys.clone())
                .bind(tallies.clone())
                .bind(next.clone())
                .bind(seen.clone())
        };
        Ok(count(&self.queue().await?.fetch("end probes", statement).await?))
    }
}

fn due(row: &PgRow, token: LeaseToken) -> Result<DueProbe, StoreError> {
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

fn count(rows: &[PgRow]) -> u64 {
    rows.first().map_or(0, |row| unsigned(row.get(0)))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
