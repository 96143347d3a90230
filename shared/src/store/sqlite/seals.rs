//! Sealed secrets, for the rotation of the master key.

use async_trait::async_trait;
use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use crate::{
    commit::{InstallationChange, Sealed},
    store::{Reseal, Seals, StoreError, stored::unsigned},
};

/// Changes values of the installation, in order.
pub(super) async fn change_installation(
    connection: &mut SqliteConnection,
    changes: &[InstallationChange],
) -> Result<(), StoreError> {
    for change in changes {
        let query = match change {
            InstallationChange::Put { name, value } => sqlx::query(
                "insert into installation (name, value) values (?, ?) \
                 on conflict (name) do update set value = excluded.value",
            )
            .bind(name)
            .bind(value),
            InstallationChange::Erase { name } => {
                sqlx::query("delete from installation where name = ?").bind(name)
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
impl Seals for SqliteStore {
    async fn seals(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let rows = sqlx::query("select key_id, count(*) from secrets group by key_id order by key_id")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::doing("count sealed secrets"))?;
        Ok(rows.iter().map(|row| (row.get(0), unsigned(row.get(1)))).collect())
    }

    async fn sealed_otherwise(
        &self,
        key_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, Sealed)>, StoreError> {
        let rows = sqlx::query(
            "select owner, key_id, nonce, ciphertext from secrets where key_id <> ? and owner > ? \
             order by owner limit ?",
        )
        .bind(key_id)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::doing("read sealed secrets"))?;
        let sealed =
            rows.iter().map(|row| Sealed { key_id: row.get(1), nonce: row.get(2), ciphertext: row.get(3) });
        Ok(rows.iter().map(|row| row.get(0)).zip(sealed).collect())
    }

    async fn reseal(&self, seals: Vec<Reseal>) -> Result<u64, StoreError> {
        self.write("seal secrets anew", move |connection| {
            Box::pin(async move {
                let mut changed = 0;
                for Reseal { owner, nonce, sealed } in seals {
                    let done = sqlx::query(
                        "update secrets set key_id = ?, nonce = ?, ciphertext = ? where owner = ? and nonce = ?",
                    )
                    .bind(sealed.key_id)
                    .bind(sealed.nonce)
                    .bind(sealed.ciphertext)
                    .bind(owner)
                    .bind(nonce)
                    .execute(&mut *connection)
                    .await
                    .map_err(StoreError::doing("seal secrets anew"))?;
                    changed += done.rows_affected();
                }
                Ok(changed)
            })
        })
        .await
    }
}
