//! The layout of docker-compose.yml as processes: command lines, environment and order are read from that file and the
//! Dockerfile, so that they cannot say something that does not work.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use harness::{
    databases::{Cluster, ServerDatabase},
    fleet::Process,
    ports::free_port,
    process::program,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(40);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `${NAME:-default}` as it is where nothing is set.
fn interpolated(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else { return text.to_owned() };
    let (inside, after) = rest.split_once('}').expect("a closing brace");
    let (_, default) = inside.split_once(":-").expect("every variable has a default");
    format!("{before}{default}{}", interpolated(after))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().map_or_else(Vec::new, |list| {
        list.iter().map(|text| interpolated(text.as_str().expect("a text"))).collect()
    })
}

/// What the image sets, from the last stage of the Dockerfile.
fn image_environment() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let joined = text.replace("\\\n", " ");
    let line = joined.lines().rev().find_map(|line| line.strip_prefix("ENV ")).expect("an ENV instruction");
    let pairs = line.split_whitespace().map(|pair| pair.split_once('=').expect("NAME=value"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The services of the fleet, and what stands in for what only containers have.
struct Layout {
    services: serde_json::Map<String, Value>,
    folder: tempfile::TempDir,
    database: ServerDatabase,
}

impl Layout {
    async fn read() -> Self {
        let text = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
        let file: Value = serde_saphyr::from_str(&text).unwrap();
        let services = file["services"].as_object().unwrap().clone();
        let folder = tempfile::tempdir().unwrap();
        let database = Cluster::of_this_process().await.empty_database().await;
        let url = url(&database);
        let secrets = [
            ("master_key", "0f".repeat(32)),
            ("database_password", url.password().unwrap().to_owned()),
            ("admin_token", "admin-token-of-the-layout-0123456789".to_owned()),
        ];
        for (name, secret) in secrets {
            assert!(file["secrets"][name]["file"].is_string(), "{name} comes by a file");
            std::fs::write(folder.path().join(name), format!("{secret}\n")).unwrap();
        }
        Self { services, folder, database }
    }

    /// Names of the services that run this program with these arguments, and are in no profile.
    fn named(&self, program: &str, arguments: &[&str]) -> Vec<&str> {
        let runs = |service: &Value| {
            let (runs, given) = program_of(service);
            runs == program && given == arguments && service["profiles"].is_null()
        };
        self.services.iter().filter(|(_, service)| runs(service)).map(|(name, _)| name.as_str()).collect()
    }

    /// A service as a process; where it answers is the last thing that it needs a port for.
    fn process(&self, name: &str) -> Process {
        let service = &self.services[name];
        let (program_name, mut arguments) = program_of(service);
        let address = format!("127.0.0.1:{}", free_port());
        let port = address.rsplit(':').next().unwrap();
        for argument in &mut arguments {
            *argument = argument.replace("18789", port);
        }
        let mut command = Command::new(program(&program_name));
        command.args(arguments).env_clear();
        for (name, value) in self.environment(service) {
            let is_listener = name.ends_with("LISTEN_ADDR");
            command.env(name, if is_listener { address.clone() } else { value });
        }
        let log = self.folder.path().join(format!("{name}.log"));
        Process::of(name, command, format!("http://{address}"), log)
    }

    fn environment(&self, service: &Value) -> BTreeMap<String, String> {
        let mut environment = image_environment();
        for (name, value) in service["environment"].as_object().into_iter().flatten() {
            environment.insert(name.clone(), interpolated(value.as_str().expect("a text")));
        }
        let url = url(&self.database);
        let server = format!("{}:{}{}", url.host_str().unwrap(), url.port().unwrap(), url.path());
        let folder = self.folder.path().display().to_string();
        for value in environment.values_mut() {
            assert!(!value.contains(url.password().unwrap()), "no secret stands in the environment");
            *value = value.replace("postgres:5432/mission_control", &server);
            // Only a path that begins so: a part of a name is none.
            for place in ["/run/secrets", "/data"] {
                if let Some(rest) = value.strip_prefix(place) {
                    *value = format!("{folder}{rest}");
                    break;
                }
            }
        }
        environment
    }

    /// A command line beside it, with the environment of the migration and the master key.
    fn command(&self, arguments: &[&str], code: i32) -> String {
        let mut command = Command::new(program("mission-control"));
        command.args(arguments).env_clear().envs(self.environment(&self.services["api-1"]));
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
        out.into_owned()
    }

    fn workers(&self) -> Vec<Value> {
        let out = self.command(&["workers", "list", "--json"], 0);
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn worker(&self, process: &Process, state: &str) -> String {
        let started = Instant::now();
        loop {
            let workers = self.workers();
            let is_it = |worker: &&Value| worker["pid"] == process.id() && worker["state"] == state;
            if let Some(found) = workers.iter().find(is_it) {
                return found["id"].as_str().unwrap().to_owned();
            }
            assert!(started.elapsed() < LIMIT, "{} is not {state}: {workers:#?}", process.name);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn url(database: &ServerDatabase) -> reqwest::Url {
    database.url().parse().unwrap()
}

/// What a container of this service runs, and its arguments.
fn program_of(service: &Value) -> (String, Vec<String>) {
    let program = match (texts(&service["entrypoint"]).first(), service["image"].as_str().unwrap()) {
        (Some(program), _) => program.clone(),
        (None, "mission-control") => "mission-control".to_owned(),
        (None, "mission-control-demo") => "fake-gateway".to_owned(),
        (None, other) => other.to_owned(),
    };
    (program, texts(&service["command"]))
}

/// Registers the gateway at this API and waits for its outcome.
async fn register(api: &Process, gateway: &Process, name: &str) -> Value {
    let body = json!({"name": name, "url": gateway.base.replace("http", "ws"), "workspace_root": "/ws",
                      "token": "demo-token"});
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
    let request = http.post(format!("{}/api/v1/gateways", api.base)).json(&body);
    let answer = request.bearer_auth("admin-token-of-the-layout-0123456789").send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert_eq!(status, 200, "{} answers {text}", api.name);
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layout_of_the_compose_file_works_as_processes() {
    let layout = Layout::read().await;
    let depends = |name: &str, on: &str| layout.services[name]["depends_on"][on]["condition"].clone();
    let apis = layout.named("mission-control", &["serve", "--no-worker"]);
    let workers = layout.named("mission-control-worker", &[]);
    assert_eq!((apis.len(), workers.len()), (2, 3));
    assert_eq!(layout.named("mission-control", &["migrate"]), ["migrate"]);
    assert_eq!(layout.services["fake-gateway"]["profiles"], json!(["demo"]));
    assert!(layout.services["postgres"]["healthcheck"]["test"].is_array());
    assert_eq!(depends("migrate", "postgres"), "service_healthy");
    let mut migrate = layout.process("migrate");
    migrate.start();
    assert_eq!(migrate.ended().await, Some(0), "{}", migrate.log());
    let start = |name: &&str| {
        assert_eq!(depends(name, "migrate"), "service_completed_successfully", "{name}");
        let mut process = layout.process(name);
        process.start();
        process
    };
    let mut apis: Vec<Process> = apis.iter().map(start).collect();
    let mut workers: Vec<Process> = workers.iter().map(start).collect();
    let mut gateway = layout.process("fake-gateway");
    gateway.start();
    for process in apis.iter().chain(&workers) {
        process.ready().await;
    }
    for (api, name) in apis.iter().zip(["first", "second"]) {
        assert_eq!(register(api, &gateway, name).await["status"], "active");
    }
    let drained = layout.worker(&workers[0], "working").await;
    layout.command(&["workers", "drain", &drained, "--wait"], 0);
    workers[1].kill();
    for (api, name) in apis.iter().zip(["third", "fourth"]) {
        assert_eq!(register(api, &gateway, name).await["status"], "active");
    }
    layout.worker(&workers[0], "drained").await;
    layout.worker(&workers[1], "lost").await;
    layout.worker(&workers[2], "working").await;
    layout.command(&["events", "verify"], 0);
    let created = layout.command(&["events", "list", "--type", "GatewayCreated"], 0);
    assert_eq!(created.lines().count(), 4, "{created}");
    // One of them was killed.
    let left = workers.iter_mut().enumerate().filter(|(number, _)| *number != 1).map(|(_, worker)| worker);
    for process in apis.iter_mut().chain(left) {
        process.terminate();
        assert_eq!(process.ended().await, Some(0), "{}", process.log());
    }
}
