//! Which database, as `DATABASE_URL` names it.

use std::{fmt, str::FromStr, time::Duration};

use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::{secret::Secret, store::StoreError};

/// Parameters that a URL may have; another one would be passed over and its value logged by the driver.
const PARAMETERS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// A database on a `PostgreSQL` server, and how this program uses it. `Debug` and `Display` show no credentials.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    has_password: bool,
    /// Connections for reads, beside two for the queue, one for commits and one that listens. Default 8.
    pub readers: usize,
    /// How long after the first answer of the database, after a start or an outage, leases that ran out are left alone:
    /// a worker that lived through it renews first what it still works on. Default 3 s.
    pub takeover_after: Duration,
}

impl Server {
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// With a password, if the URL had none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Setting`] if it had one.
    pub(in crate::store) fn with_password(self, password: &Secret) -> Result<Self, StoreError> {
        if self.has_password {
            let problem = "both DATABASE_URL and DATABASE_PASSWORD_FILE have a password; leave one out";
            return Err(StoreError::Setting { problem: problem.to_owned() });
        }
        Ok(Self { options: self.options.password(password.expose()), has_password: true, ..self })
    }
}

impl FromStr for Server {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Self, StoreError> {
        let unreadable = |why: String| StoreError::Setting { problem: format!("DATABASE_URL: {why}") };
        let parsed = Url::parse(url).map_err(|error| unreadable(error.to_string()))?;
        for (name, _) in parsed.query_pairs() {
            if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
                return Err(unreadable(format!("the parameter {name:?} is not known")));
            }
        }
        // The driver's error may repeat a value, and a value may be a password.
        let options = url
            .parse::<PgConnectOptions>()
            .map_err(|_| unreadable("a parameter has a value that is not allowed".to_owned()))?;
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("mission-control"),
        };
        let has_password =
            parsed.password().is_some() || parsed.query_pairs().any(|(name, _)| name == "password");
        Ok(Self { options, has_password, readers: 8, takeover_after: Duration::from_secs(3) })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        match options.get_socket() {
            Some(socket) => write!(f, "postgres:{}", socket.display())?,
            None => write!(f, "postgres://{}:{}", options.get_host(), options.get_port())?,
        }
        write!(f, "/{}", options.get_database().unwrap_or_default())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
