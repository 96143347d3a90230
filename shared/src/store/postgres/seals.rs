//! Sealed secrets, for the rotation of the master key.

use async_trait::async_trait;
use sqlx::{PgConnection, Row as _};

use super::{PostgresStore, insert::column};
use crate::{
    commit::{InstallationChange, Sealed},
    store::{Reseal, Seals, StoreError, stored::unsigned},
};

const DOING: &str = "seal secrets anew";

/// Changes values of the installation, in order.
pub(super) async fn change_installation(
    connection: &mut PgConnection,
    changes: &[InstallationChange],
) -> Result<(), StoreError> {
    for change in changes {
        let query = match change {
            InstallationChange::Put { name, value } => sqlx::query(
                "insert into installation (name, value) values ($1, $2) \
                 on conflict (name) do update set value = excluded.value",
            )
            .bind(name)
            .bind(value),
            InstallationChange::Erase { name } => {
                sqlx::query("delete from installation where name = $1").bind(name)
            }
        };
        query
            .execute(&mut *connection)
            .await
            .map_err(StoreError::doing("change a value of the installation"))?;
    }
    Ok(())
}

#[async_trait]
impl Seals for PostgresStore {
    async fn seals(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let statement =
            || sqlx::query("select key_id, count(*) from secrets group by key_id order by key_id");
        let rows = self.reads().await?.fetch("count sealed secrets", statement).await?;
        Ok(rows.iter().map(|row| (row.get(0), unsigned(row.get(1)))).collect())
    }

    async fn sealed_otherwise(
        &self,
        key_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, Sealed)>, StoreError> {
        let statement = || {
            sqlx::query(
                "select owner, key_id, nonce, ciphertext from secrets where key_id <> $1 and owner > $2 \
                 order by owner limit $3",
            )
            .bind(key_id.to_owned())
            .bind(after.to_owned())
            .bind(i64::from(limit))
        };
        let rows = self.reads().await?.fetch("read sealed secrets", statement).await?;
        let sealed =
            rows.iter().map(|row| Sealed { key_id: row.get(1), nonce: row.get(2), ciphertext: row.get(3) });
        Ok(rows.iter().map(|row| row.get(0)).zip(sealed).collect())
    }

    async fn reseal(&self, seals: Vec<Reseal>) -> Result<u64, StoreError> {
        // In a transaction of its own that is durable: the lines of `reads` do not wait for the disk.
        let sealing = sqlx::query(
            "update secrets s set key_id = n.key_id, nonce = n.nonce, ciphertext = n.ciphertext \
             from unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[], $5::bytea[]) \
                 as n (owner, former, key_id, nonce, ciphertext) \
             where s.owner = n.owner and s.nonce = n.former",
        )
        .bind(column(&seals, |seal| seal.owner.as_str()))
        .bind(column(&seals, |seal| seal.nonce.as_slice()))
        .bind(column(&seals, |seal| seal.sealed.key_id.as_str()))
        .bind(column(&seals, |seal| seal.sealed.nonce.as_slice()))
        .bind(column(&seals, |seal| seal.sealed.ciphertext.as_slice()));
        self.long(DOING, "begin", async |connection| {
            let done = sealing.execute(connection).await.map_err(StoreError::doing(DOING))?;
            Ok(done.rows_affected())
        })
        .await
    }
}
