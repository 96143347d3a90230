//! What the tests with real gateways saw: one file for each row, and the document that is made of all of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Auth, Options, Version, install::root};

/// Everything that is tried, in the order of the document.
const STEPS: [&str; 21] = [
    "register",
    "register a second agent",
    "register with a wrong token",
    "register with a wrong password",
    "register with wss:// where there is no TLS",
    "register with ws:// where there is TLS",
    "register without allow_insecure_tls",
    "register with a workspace_root that cannot be written",
    "register, and stop and start it in the middle",
    "register before our device is approved",
    "register, and approve our device meanwhile",
    "read its status",
    "change its name",
    "change its token to a wrong one",
    "change its token",
    "move it to another gateway",
    "sync its templates",
    "sync its templates and rotate the agent's token",
    "check in with the token in the agent's files",
    "probe",
    "remove",
];

/// Where the facts begin, and where they end.
const FACTS: &str = "\n## What holds\n";
const TIMES: &str = "\n## What it took\n";

/// One step at one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which release.
    pub version: &'static str,
    /// How it lets us in, as [`way`] calls it.
    pub way: String,
    /// One of the texts that the document lists.
    pub step: &'static str,
    /// How it ended.
    pub outcome: String,
    /// From the request to its answer.
    pub took: Duration,
    /// How often the gateway restarted meanwhile; `None` where it was restarted on purpose.
    pub restarts: Option<usize>,
    /// Connections that reached it, where they were counted.
    pub connections: Option<usize>,
}

/// How a gateway lets its clients in.
#[must_use]
pub fn way(options: &Options) -> String {
    let way = match options.auth {
        _ if options.control_ui => "control_ui",
        Auth::Token => "token",
        Auth::Password => "password",
        Auth::None => "no auth",
    };
    let tls = if options.tls { " over wss" } else { "" };
    let remote = if options.behind_proxy { ", remote" } else { "" };
    format!("{way}{tls}{remote}")
}

impl Row {
    /// Puts it where [`rows`] finds it; a later run of the same test puts another in its place.
    ///
    /// # Panics
    ///
    /// When the document has no such step, or the target folder cannot be written.
    pub fn keep(&self) {
        assert!(STEPS.contains(&self.step), "the document knows no step {:?}", self.step);
        let folder = folder();
        fs::create_dir_all(&folder).expect("the target folder can be written");
        let name = format!("{} {} {}", self.version, self.way, self.step);
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
        let row = json!({
            "version": self.version, "way": self.way, "step": self.step, "outcome": self.outcome,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "restarts": self.restarts, "connections": self.connections,
        });
        fs::write(folder.join(name + ".json"), row.to_string()).expect("the target folder can be written");
    }

    fn read(path: &Path) -> Option<Self> {
        let row: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let count = |key: &str| row.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let version =
            Version::ALL.into_iter().map(Version::number).find(|known| Some(*known) == text("version"))?;
        Some(Self {
            version,
            way: text("way")?.to_owned(),
            step: STEPS.into_iter().find(|step| Some(*step) == text("step"))?,
            outcome: text("outcome")?.to_owned(),
            took: Duration::from_millis(row.get("took_ms")?.as_u64()?),
            restarts: count("restarts"),
            connections: count("connections"),
        })
    }

    /// Old gateways restart now and then once more for the same calls: the number is no fact, that they do is one.
    fn facts(&self) -> String {
        let restarts = match self.restarts {
            None => "on purpose",
            Some(0) => "none",
            Some(_) => "yes",
        };
        let connections = match (self.connections, self.restarts) {
            (None, _) => "–".to_owned(),
            (Some(all), Some(restarts)) if restarts > 0 => {
                format!("{}, and 1 for each restart", all.saturating_sub(restarts))
            }
            (Some(all), _) => all.to_string(),
        };
        let Self { version, way, step, outcome, .. } = self;
        format!("| {version} | {way} | {step} | {outcome} | {restarts} | {connections} |\n")
    }

    fn times(&self) -> String {
        let Self { version, way, step, .. } = self;
        let count = |count: Option<usize>| count.map_or("–".to_owned(), |count| count.to_string());
        let (restarts, connections) = (count(self.restarts), count(self.connections));
        let took = self.took.as_secs_f64();
        format!("| {version} | {way} | {step} | {took:.2} s | {restarts} | {connections} |\n")
    }

    fn place(&self) -> (usize, &str, usize) {
        let version = Version::ALL.into_iter().position(|version| version.number() == self.version);
        let step = STEPS.into_iter().position(|step| step == self.step);
        (version.unwrap_or_default(), &self.way, step.unwrap_or_default())
    }
}

fn folder() -> PathBuf {
    root().with_file_name("ci").join("compatibility")
}

/// The rows of the last run, in the order of the document.
///
/// # Errors
///
/// None were kept.
pub fn rows() -> io::Result<Vec<Row>> {
    let files = fs::read_dir(folder())?;
    let mut rows: Vec<Row> = files.filter_map(|file| Row::read(&file.ok()?.path())).collect();
    rows.sort_by(|a, b| a.place().cmp(&b.place()));
    Ok(rows)
}

/// The whole document. `machine` says where the times are from.
#[must_use]
pub fn document(rows: &[Row], machine: &str) -> String {
    let facts: String = rows.iter().map(Row::facts).collect();
    let times: String = rows.iter().map(Row::times).collect();
    format!(
        "# Compatibility with OpenClaw gateways\n\n\
         Every line was seen by a test with the real gateway, installed from npm (`tests/openclaw/`): this file is \
         written by them. Nobody edits it.\n\n\
         ```sh\n\
         cargo test -p tests --test openclaw        # each test keeps what it saw in target/ci/compatibility/\n\
         cargo run -p tests --bin compatibility     # makes this file of it\n\
         ```\n\n\
         With `--check` it fails when the first table is not what the last run saw.\n\n\
         The same code meets every version, these and those in between: it compares no version number but with the \
         minimum.\n\
         {FACTS}\n\
         | OpenClaw | way in | what is done | outcome | restarts of the gateway | connections |\n\
         |---|---|---|---|---|---|\n\
         {facts}\
         {TIMES}\n\
         {machine} Up to two gateways ran at once, with Mission Control and the test beside them; the times are from \
         one run and vary. Restarts and connections are those of that run.\n\n\
         | OpenClaw | way in | what is done | time | restarts | connections |\n\
         |---|---|---|---|---|---|\n\
         {times}"
    )
}

/// The part of a document that must be equal in every run.
#[must_use]
pub fn facts(document: &str) -> &str {
    let from = document.find(FACTS).unwrap_or_default();
    let until = document.find(TIMES).unwrap_or(document.len());
    document.get(from..until).unwrap_or_default()
}
