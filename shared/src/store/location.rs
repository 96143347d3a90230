//! Where an installation is kept, and how to open it: callers need not know what kind of database that is.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use super::{
    Store, StoreError,
    postgres::{PostgresStore, Server},
    sqlite::SqliteStore,
};
use crate::secret::Secret;

/// Where an installation is kept. Shown without credentials.
#[derive(Debug, Clone)]
pub enum Location {
    /// `sqlite://<file>`: this file, used by one `serve` at a time.
    Sqlite(PathBuf),
    /// `postgres://…`: this database, shared by any number of processes.
    Postgres(Box<Server>),
}

impl Location {
    /// Opens the store and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if that cannot be done now.
    pub async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Self::Sqlite(file) => Arc::new(SqliteStore::open(file).await?),
            Self::Postgres(server) => Arc::new(PostgresStore::open(server).await?),
        })
    }

    /// Opens the store as [`Location::open`] does, but does not wait for a database that is away: until it has come,
    /// every method of the store fails and it is tried again and again. For processes that must answer meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a file cannot be opened: nothing will mend that by itself.
    pub async fn open_when_it_comes(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Sqlite(_) => self.open().await,
            Self::Postgres(server) => Ok(Arc::new(PostgresStore::connect_lazy(server))),
        }
    }

    /// With the password of a user that the URL names without one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Setting`] if there is one already, or the store is a file, which has none.
    pub fn with_password(self, password: &Secret) -> Result<Self, StoreError> {
        match self {
            Self::Postgres(server) => Ok(Self::Postgres(Box::new(server.with_password(password)?))),
            Self::Sqlite(_) => Err(StoreError::Setting {
                problem: "DATABASE_PASSWORD_FILE is for DATABASE_URL=postgres://…; leave it out".to_owned(),
            }),
        }
    }

    /// Whether several processes may use the store at once.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl FromStr for Location {
    type Err = StoreError;

    /// Reads a `DATABASE_URL`. The errors do not repeat it.
    fn from_str(url: &str) -> Result<Self, StoreError> {
        if let Some(file) = url.strip_prefix("sqlite://").filter(|file| !file.is_empty()) {
            return Ok(Self::Sqlite(PathBuf::from(file)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return url.parse().map(Box::new).map(Self::Postgres);
        }
        let problem =
            "DATABASE_URL must be sqlite://<file> or postgres://<user>:<password>@<host>/<database>";
        Err(StoreError::Setting { problem: problem.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.display()),
            Self::Postgres(server) => server.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_one_of_two_databases() {
        let file = "sqlite:///var/lib/mc/mission-control.db".parse::<Location>().unwrap();
        assert_eq!(file.to_string(), "sqlite:///var/lib/mc/mission-control.db");
        assert!(!file.is_shared());
        let server =
            "postgresql://mc:hunter22@db.example:6432/mc?sslmode=disable".parse::<Location>().unwrap();
        assert_eq!(server.to_string(), "postgres://db.example:6432/mc");
        assert!(server.is_shared());
        for wrong in ["", "sqlite://", "mysql://a/b", "mission-control.db"] {
            assert!(wrong.parse::<Location>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_comes_from_one_place() {
        let password = Secret::from("hunter22");
        let with = |url: &str| url.parse::<Location>().unwrap().with_password(&password);
        assert!(!format!("{:?}", with("postgres://mc@db.example/mc").unwrap()).contains("hunter"));
        for wrong in [
            "postgres://mc:other@db.example/mc",
            "postgres://mc@db.example/mc?password=other",
            "sqlite://a.db",
        ] {
            let error = with(wrong).unwrap_err().to_string();
            assert!(error.contains("DATABASE_PASSWORD_FILE") && !error.contains("other@"), "{error}");
        }
    }

    #[test]
    fn credentials_are_in_no_error_and_no_debug() {
        let known = "postgres://mc:hunter22@db.example/mc?password=hunter23".parse::<Location>().unwrap();
        let shown = format!("{known} {known:?}");
        assert!(!shown.contains("hunter"), "{shown}");
        for wrong in [
            "postgres://mc:hunter22@db.example:port/mc",
            "postgres://mc:hunter22@db.example/mc?sslmode=hunter22",
            "postgres://mc:hunter22@db.example/mc?pasword=hunter22",
            "mysql://mc:hunter22@db.example/mc",
        ] {
            let error = wrong.parse::<Location>().unwrap_err();
            let shown = format!("{} {error:?}", crate::chain::chain(&error));
            assert!(!shown.contains("hunter"), "{shown}");
        }
    }
}
