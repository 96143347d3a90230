//! One installation as an operator has it, with a list of points at which its processes die.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{
    databases::{Cluster, ServerDatabase},
    fleet::{Fleet, Process},
    world::{audit, log},
};
use reqwest::Method;
use serde_json::Value;
use shared::{
    envelope::Recorded,
    store::{Location, Store},
};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// To die or to answer: far more than any of it takes.
const LIMIT: Duration = Duration::from_mins(1);
const SIGKILL: i32 = 9;

/// How it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// One `mission-control serve` with its own worker.
    Sqlite,
    /// An API without a worker, and a worker.
    Postgres,
}

/// Its processes, and what stands behind them.
pub(crate) struct Installation {
    fleet: Fleet,
    processes: Vec<Process>,
    points: TempDir,
    database: Database,
    pub(crate) store: Arc<dyn Store>,
    http: reqwest::Client,
}

enum Database {
    File { url: String, _folder: TempDir },
    Server(ServerDatabase),
}

impl Database {
    fn url(&self) -> &str {
        match self {
            Self::File { url, .. } => url,
            Self::Server(database) => database.url(),
        }
    }

    /// A statement for either, behind the backs of all processes.
    async fn execute(&self, (of_file, of_server): (&'static str, &'static str)) {
        match self {
            Self::File { url, .. } => {
                let mut connection = SqliteConnection::connect(url).await.unwrap();
                sqlx::raw_sql(of_file).execute(&mut connection).await.unwrap();
            }
            Self::Server(database) => {
                let mut connection = PgConnection::connect(database.url()).await.unwrap();
                sqlx::raw_sql(of_server).execute(&mut connection).await.unwrap();
            }
        }
    }
}

impl Installation {
    /// Starts it, on nothing; with a point at which it dies once meanwhile.
    pub(crate) async fn start(backend: Backend, dies_at: Option<&str>) -> Self {
        let database = match backend {
            Backend::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("mission-control.db").display());
                Database::File { url, _folder: folder }
            }
            Backend::Postgres => Database::Server(Cluster::of_this_process().await.empty_database().await),
        };
        let fleet = Fleet::on(database.url());
        let points = tempfile::tempdir().unwrap();
        let folder = points.path().display().to_string();
        let settings = [("MISSION_CONTROL_FAILPOINTS", folder.as_str()), ("NO_WORKER", "true")];
        let mut processes = match backend {
            Backend::Sqlite => vec![fleet.api("serve", &settings[..1])],
            Backend::Postgres => vec![fleet.api("api", &settings), fleet.worker("worker", &settings[..1])],
        };
        if let Some(point) = dies_at {
            std::fs::write(points.path().join("armed"), point).unwrap();
        }
        processes.iter_mut().for_each(Process::start);
        if let Some(point) = dies_at {
            let started = Instant::now();
            while !processes.iter_mut().any(|process| !process.is_running()) {
                assert!(started.elapsed() < LIMIT, "nobody died {point}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            std::fs::remove_file(points.path().join("armed")).unwrap();
            for process in &mut processes {
                if process.is_running() {
                    continue;
                }
                assert_eq!(process.wait().signal(), Some(SIGKILL), "{point}");
                process.start();
            }
        }
        for process in &processes {
            process.ready().await;
        }
        let location: Location = database.url().parse().unwrap();
        let store = location.open().await.unwrap();
        // A connection of an earlier life is none.
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).pool_max_idle_per_host(0);
        let http = http.no_proxy().build().unwrap();
        Self { fleet, processes, points, database, store, http }
    }

    /// From now on it dies at this point.
    pub(crate) fn arm(&self, point: &str) {
        std::fs::write(self.armed(), point).unwrap();
    }

    fn armed(&self) -> PathBuf {
        self.points.path().join("armed")
    }

    /// Whether one of its processes has died.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.processes.iter_mut().any(|process| !process.is_running())
    }

    /// Starts what has died; whoever takes over needs not wait until the lease of the dead has run out.
    pub(crate) async fn revive(&mut self, what: &str) {
        std::fs::remove_file(self.armed()).unwrap();
        for process in &mut self.processes {
            if process.is_running() {
                continue;
            }
            let name = process.name.clone();
            assert_eq!(process.wait().signal(), Some(SIGKILL), "{what}: {name}\n{}", process.log());
            if name == "worker" {
                let over = "update jobs set lease_until = queue_now() where lease_token is not null";
                self.database.execute(("select 1", over)).await;
            }
            process.start();
            process.ready().await;
        }
    }

    /// The day after which the tokens of failed registrations are erased is over.
    pub(crate) async fn let_a_day_pass(&self) {
        let of_file = "update jobs set run_at = 0 where kind = 'erase_token'";
        let of_server = "update jobs set run_at = queue_now() where kind = 'erase_token'";
        self.database.execute((of_file, of_server)).await;
    }

    /// Status and body of an answer; `None` if none came.
    pub(crate) fn ask(
        &self,
        (method, path, body): (Method, &str, &Value),
        key: Option<&str>,
    ) -> impl Future<Output = Option<(u16, Value)>> + Send + use<> {
        let url = format!("{}{path}", self.processes[0].base);
        let request = self.http.request(method, url).bearer_auth(self.fleet.owner.expose());
        let mut request = request.header("Prefer", "respond-async");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        async move {
            let answer = request.send().await.ok()?;
            let status = answer.status().as_u16();
            Some((status, answer.json().await.ok()?))
        }
    }

    /// The answer to a GET.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask((Method::GET, path, &Value::Null), None).await.expect("an answer")
    }

    /// The history of the only gateway of this name.
    pub(crate) async fn history(&self, name: &str) -> Vec<Recorded> {
        let log = log(self.store.as_ref()).await;
        let named = format!("\"name\":\"{name}\"");
        let mut streams: Vec<_> = log
            .iter()
            .filter(|event| event.event_type == "GatewayRequested" && event.data.contains(&named))
            .map(|event| event.stream.clone())
            .collect();
        let stream = streams.pop();
        assert!(streams.is_empty(), "{name} was requested more than once");
        log.into_iter().filter(|event| Some(&event.stream) == stream.as_ref()).collect()
    }

    /// Proves what is left of it all, stops it, and returns the points that it reached.
    pub(crate) async fn end(mut self) -> BTreeSet<String> {
        let organization = self.store.organizations().await.unwrap().remove(0).id;
        audit(self.store.as_ref(), organization).await;
        let log = log(self.store.as_ref()).await;
        let positions = log.iter().map(|event| event.position);
        assert!(positions.eq(1..=u64::try_from(log.len()).unwrap()), "positions have gaps");
        for process in &mut self.processes {
            process.terminate();
        }
        for process in &mut self.processes {
            assert_eq!(process.ended().await, Some(0), "{}", process.name);
        }
        self.reached()
    }

    /// The points that it has reached.
    pub(crate) fn reached(&self) -> BTreeSet<String> {
        let reached = std::fs::read_to_string(self.points.path().join("reached")).unwrap();
        reached.lines().map(str::to_owned).collect()
    }

    /// What its processes have logged, for a message.
    pub(crate) fn logs(&self) -> String {
        self.processes.iter().map(Process::log).collect()
    }
}
