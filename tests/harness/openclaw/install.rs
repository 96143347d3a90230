//! Node and OpenClaw, installed once into `target/openclaw/` by npm. Pinned, so that a failure is ours.

use std::{
    env::consts::{ARCH, OS},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::process::Command;

use super::Version;

const NODE_VERSION: &str = "24.16.0";
/// One package; the largest has 600 MB.
const NPM_LIMIT: Duration = Duration::from_mins(10);

/// What it takes to run one version.
#[derive(Debug, Clone)]
pub(super) struct Installed {
    /// The Node binary.
    pub(super) node: PathBuf,
    /// The script that Node runs.
    pub(super) openclaw: PathBuf,
}

/// Installs what is missing. Test binaries that run at the same time wait for each other.
pub(super) async fn installed(version: Version) -> Installed {
    let root = root();
    fs::create_dir_all(&root).expect("the target folder can be written");
    let lock = File::create(root.join("install.lock")).expect("the target folder can be written");
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
    let _lock = lock.expect("taking a lock does not panic").expect("the install lock can be taken");

    let node = node_package();
    let node_folder = root.join(format!("node-{NODE_VERSION}"));
    if !node_folder.exists() {
        install(&node_folder, &format!("{node}@{NODE_VERSION}"), &json!({"private": true})).await;
    }
    let number = version.number();
    let folder = root.join(format!("openclaw-{number}"));
    if !folder.exists() {
        install(&folder, &format!("openclaw@{number}"), &package(version)).await;
    }
    Installed {
        node: node_folder.join("node_modules").join(node).join("bin/node"),
        openclaw: folder.join("node_modules/openclaw/openclaw.mjs"),
    }
}

/// `openclaw/` in the target folder of this workspace: the one that holds the running test binary, so whatever moved
/// it there (`CARGO_TARGET_DIR`, a configuration) is honoured.
pub(super) fn root() -> PathBuf {
    let binary = std::env::current_exe().expect("a process knows its binary");
    let target = binary.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    target.map_or_else(beside, Path::to_path_buf).join("openclaw")
}

fn node_package() -> String {
    let os = if OS == "macos" { "darwin" } else { OS };
    let arch = if ARCH == "x86_64" { "x64" } else { "arm64" };
    format!("node-{os}-{arch}")
}

fn package(version: Version) -> Value {
    let number = version.number();
    if version == Version::V2026_2_9 {
        // A dependency of a dependency names a git address; this release of it is on npm.
        json!({"private": true, "dependencies": {"openclaw": number}, "overrides": {"libsignal": "6.0.0"}})
    } else {
        json!({"private": true})
    }
}

/// All or nothing: what was begun and killed is never taken for installed.
async fn install(folder: &Path, package: &str, manifest: &Value) {
    let half = folder.with_extension("half");
    if half.exists() {
        fs::remove_dir_all(&half).expect("a half installation can be removed");
    }
    fs::create_dir_all(&half).expect("the target folder can be written");
    fs::write(half.join("package.json"), manifest.to_string()).expect("the target folder can be written");
    note(&format!("installing {package} with npm into {}", folder.display()));
    let started = Instant::now();
    npm(&half, package).await;
    fs::rename(&half, folder).expect("a complete installation can be renamed");
    note(&format!("installed {package} in {} s", started.elapsed().as_secs()));
}

async fn npm(folder: &Path, package: &str) {
    let flags = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"];
    let mut command = Command::new("npm");
    command.arg("install").arg(package).args(flags).current_dir(folder);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(NPM_LIMIT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            panic!("npm is missing, and with it the gateways of this test: apt-get install npm")
        }
        Ok(Err(error)) => panic!("npm cannot be started: {error}"),
        Err(late) => panic!("npm install {package} took too long: {late}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "npm install {package} failed ({}): {said}", output.status);
}

/// Progress, past the test runner's capture: a person who waits wants to know for what.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "[openclaw] {text}");
}
