//! The connection that writes, replaced whenever it fails.

use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::time::timeout;

use super::{
    commit::{self, Failure},
    connections::{Connector, Use, is_too_late},
    health::is_lost,
};
use crate::{
    commit::Commit,
    store::{
        LocalWorker, StoreError,
        writer::{Answer, Database, Written},
    },
};

/// A write that is not a commit.
#[derive(Debug)]
pub(super) enum Other {
    PutInstallationValue { name: String, value: String, answer: Answer<Option<String>> },
}

/// The only connection of this process that commits.
pub(super) struct Session {
    connector: Connector,
    connection: Option<PgConnection>,
    origin: String,
}

impl Session {
    pub(super) fn new(connector: Connector, origin: String) -> Self {
        Self { connector, connection: None, origin }
    }

    async fn connect(&self) -> Result<PgConnection, StoreError> {
        self.connector.connect(Use::Commits).await.map_err(StoreError::doing("take a write"))
    }

    /// Keeps the connection only if all went well: a new one has no half transaction.
    async fn attempt(
        &mut self,
        mut connection: PgConnection,
        batch: &[Commit],
        local: Option<&LocalWorker>,
    ) -> Result<Written, Failure> {
        let written = commit::write(&mut connection, batch, local, &self.origin).await;
        match &written {
            Ok(_) => {
                self.connector.health().answered();
                self.connection = Some(connection);
            }
            Err(Failure::NotWritten(error) | Failure::Unknown(error)) => {
                if let StoreError::Database { source, .. } = error
                    && is_lost(source)
                {
                    self.connector.health().lost(source);
                }
            }
        }
        written
    }

    async fn put(&mut self, name: &str, value: &str) -> Result<Option<String>, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let put = || {
            sqlx::query(
                "insert into installation (name, value) values ($1, $2) on conflict (name) do nothing",
            )
            .bind(name.to_owned())
            .bind(value.to_owned())
        };
        if self.connector.ask(&mut connection, put()).await.is_err_and(|error| is_lost(&error)) {
            connection = self.connect().await?;
        }
        // Again, for the first try may have failed; the second one changes nothing then.
        let failed = || StoreError::doing("keep a value of the installation");
        self.connector.ask(&mut connection, put()).await.map_err(failed())?;
        let read = sqlx::query("select value from installation where name = $1").bind(name.to_owned());
        let rows = self.connector.ask(&mut connection, read).await.map_err(failed())?;
        self.connection = Some(connection);
        Ok(rows.first().map(|row| row.get(0)))
    }
}

impl Database for Session {
    type Other = Other;

    async fn write(&mut self, batch: &[Commit], local: Option<&LocalWorker>) -> Result<Written, StoreError> {
        if let Some(connection) = self.connection.take() {
            match self.attempt(connection, batch, local).await {
                // It had died since the last batch, and nothing was written: a new one may be had.
                Err(Failure::NotWritten(StoreError::Database { source, .. }))
                    if is_lost(&source) && !is_too_late(&source) => {}
                Err(Failure::NotWritten(error) | Failure::Unknown(error)) => return Err(error),
                Ok(written) => return Ok(written),
            }
        }
        let connection = self.connect().await?;
        self.attempt(connection, batch, local).await.map_err(|failure| match failure {
            Failure::NotWritten(error) | Failure::Unknown(error) => error,
        })
    }

    async fn other(&mut self, write: Other) {
        match write {
            Other::PutInstallationValue { name, value, answer } => {
                let _ = answer.send(self.put(&name, &value).await);
            }
        }
    }

    async fn close(self) {
        if let Some(connection) = self.connection {
            let _ = timeout(commit::BATCH, connection.close()).await;
        }
    }
}
