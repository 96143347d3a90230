//! PostgreSQL servers: one for all tests of a process, and more for tests that crash theirs.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection as _, PgConnection};
use tokio::{sync::OnceCell, time::timeout};

use super::{server::ServerDatabase, supervisor::Supervisor};

/// The database that every other one is copied from.
const TEMPLATE: &str = "mission_control_template";
/// To be up, on a machine that does other things as well.
const UP: Duration = Duration::from_mins(1);

/// Whether what is committed is really on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is: for measurements.
    Real,
    /// It survives a crash of the server but not of the machine: for tests.
    Pretended,
}

/// A PostgreSQL server of our own on a free loopback port, in a folder of its own; both go when this is dropped, or when
/// the process is gone.
#[derive(Debug)]
pub struct Cluster {
    port: u16,
    password: String,
    databases: AtomicU32,
    supervisor: Mutex<Supervisor>,
}

impl Cluster {
    /// The server that the tests of this process share. It lives as long as the process.
    pub async fn of_this_process() -> Arc<Self> {
        static CLUSTER: OnceCell<Arc<Cluster>> = OnceCell::const_new();
        let cluster = CLUSTER.get_or_init(|| async { Arc::new(Self::start(Durability::Pretended).await) });
        Arc::clone(cluster.await)
    }

    /// Starts a server and prepares the database that every other one is copied from.
    pub async fn start(durability: Durability) -> Self {
        let port = crate::ports::free_port();
        let password = uuid::Uuid::new_v4().simple().to_string();
        let mut settings: Vec<String> =
            ["max_connections=300", "shared_buffers=64MB"].map(str::to_owned).into();
        settings.extend(["listen_addresses=127.0.0.1".to_owned(), format!("port={port}")]);
        if durability == Durability::Pretended {
            settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        let supervisor = Mutex::new(Supervisor::start(&password, &settings));
        let cluster = Self { port, password, databases: AtomicU32::new(0), supervisor };
        cluster.come_up().await;
        // What the service needs is a role that owns its database, and nothing more.
        cluster
            .administrate(&format!("create role mission_control login password '{}'", cluster.password))
            .await;
        cluster.administrate(&format!("create database {TEMPLATE} owner mission_control")).await;
        let template = ServerDatabase::new(cluster.url("mission_control", TEMPLATE), None);
        template.open().await.close().await;
        cluster
    }

    /// Crashes the server: nobody is asked, nothing is written.
    pub fn crash(&self) {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).order("stop");
    }

    /// Stops the server in whatever it does, so that it neither answers nor hangs up: as behind a cable that was pulled.
    pub fn freeze(&self) {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).order("freeze");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).order("thaw");
    }

    /// Starts the server again and waits until it takes connections.
    pub async fn come_up(&self) {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).order("start");
        let admin = self.url("admin", "postgres");
        let up = async {
            while PgConnection::connect(&admin).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(UP, up).await.is_err() {
            let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
            panic!("the server did not come up:\n{}", supervisor.log());
        }
    }

    /// A new database with the schema in it.
    pub async fn database(self: &Arc<Self>) -> ServerDatabase {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.administrate(&format!("create database {name} owner mission_control template {TEMPLATE}")).await;
        ServerDatabase::new(self.url("mission_control", &name), Some(Arc::clone(self)))
    }

    /// A new database without anything in it.
    pub async fn empty_database(self: &Arc<Self>) -> ServerDatabase {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.administrate(&format!("create database {name} owner mission_control")).await;
        ServerDatabase::new(self.url("mission_control", &name), Some(Arc::clone(self)))
    }

    /// Where it listens on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are.
    pub fn folder(&self) -> std::path::PathBuf {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).folder().to_owned()
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    async fn administrate(&self, statement: &str) {
        let mut admin =
            PgConnection::connect(&self.url("admin", "postgres")).await.expect("the server is up");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await.expect("admin may do that");
    }
}
