//! A whole installation of real processes, on either database: for what only a process can show, wherever it runs.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use serde_json::Value;
use shared::secret::Secret;
use tempfile::TempDir;

use crate::{
    databases::{Cluster, ServerDatabase},
    fleet::{Fleet, Process},
    process::{Said, Server, mission_control},
    world::Answer,
};

/// A running installation.
#[derive(Debug)]
pub struct Site {
    /// Of the database.
    pub name: &'static str,
    /// `http://127.0.0.1:port` of the API.
    pub api: String,
    /// `http://127.0.0.1:port` of the process that runs the jobs: the same on a SQLite file.
    pub worker: String,
    /// The owner's token.
    pub owner: Secret,
    /// For requests.
    pub http: reqwest::Client,
    processes: Processes,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a test")]
enum Processes {
    /// One process on a SQLite file.
    One { server: Server, data: TempDir },
    /// An API and a worker on a `PostgreSQL` database.
    Two { fleet: Fleet, api: Process, worker: Process, database: ServerDatabase },
}

impl Site {
    /// `serve` on a SQLite file of its own, with these settings.
    pub async fn embedded(settings: &[(&'static str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let settings: Vec<(&str, &str)> =
            [("RUST_LOG", "info")].into_iter().chain(settings.iter().copied()).collect();
        let server = Server::start(data.path(), &settings).await;
        let (base, owner) = (server.base.clone(), server.token());
        let processes = Processes::One { server, data };
        Self { name: "sqlite", api: base.clone(), worker: base, owner, http: client(), processes }
    }

    /// `serve --no-worker` and a worker on a database of their own, with these settings.
    pub async fn fleet(cluster: &Arc<Cluster>, settings: &[(&'static str, &str)]) -> Self {
        let database = cluster.empty_database().await;
        let fleet = Fleet::on(database.url());
        let alone: Vec<(&'static str, &str)> =
            settings.iter().copied().chain([("NO_WORKER", "true")]).collect();
        let (mut api, mut worker) = (fleet.api("api", &alone), fleet.worker("worker", settings));
        api.start();
        worker.start();
        api.ready().await;
        worker.ready().await;
        Self {
            name: "postgres",
            api: api.base.clone(),
            worker: worker.base.clone(),
            owner: fleet.owner.clone(),
            http: client(),
            processes: Processes::Two { fleet, api, worker, database },
        }
    }

    /// One on each database.
    pub async fn both(settings: &[(&'static str, &str)]) -> [Self; 2] {
        let cluster = Cluster::of_this_process().await;
        [Self::embedded(settings).await, Self::fleet(&cluster, settings).await]
    }

    /// POST of a gateway as the owner, with headers.
    pub async fn post(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}/api/v1/gateways", self.api)).json(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.bearer_auth(self.owner.expose())).await
    }

    /// GET as the owner.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(format!("{}{path}", self.api)).bearer_auth(self.owner.expose())).await
    }

    /// POST without a body as the owner.
    pub async fn order(&self, path: &str) -> Answer {
        Answer::of(self.http.post(format!("{}{path}", self.api)).bearer_auth(self.owner.expose())).await
    }

    /// Runs a sub-command beside the processes.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Said {
        match &self.processes {
            Processes::One { data, .. } => mission_control(data.path(), arguments),
            Processes::Two { fleet, .. } => said(&mut fleet.mission_control(arguments)),
        }
    }

    /// Everything that the processes have logged, each line as it is.
    #[must_use]
    pub fn log(&self) -> String {
        match &self.processes {
            Processes::One { server, .. } => server.log(),
            Processes::Two { api, worker, .. } => api.log() + &worker.log(),
        }
    }

    /// Ids of the processes, that of the API first.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        match &self.processes {
            Processes::One { server, .. } => vec![server.id()],
            Processes::Two { api, worker, .. } => vec![api.id(), worker.id()],
        }
    }

    /// The folder of the SQLite file; `None` on a server.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.processes {
            Processes::One { data, .. } => Some(data.path()),
            Processes::Two { .. } => None,
        }
    }

    /// The database on a server; `None` for a SQLite file.
    #[must_use]
    pub fn database(&self) -> Option<&ServerDatabase> {
        match &self.processes {
            Processes::One { .. } => None,
            Processes::Two { database, .. } => Some(database),
        }
    }
}

fn client() -> reqwest::Client {
    let limit = Duration::from_secs(90);
    reqwest::Client::builder().timeout(limit).no_proxy().build().expect("an HTTP client can be made")
}

fn said(command: &mut Command) -> Said {
    let output = command.output().expect("the command can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}
