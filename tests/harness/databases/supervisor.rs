//! A throw-away PostgreSQL server, its files, and the shell that ends both when this process is gone, however it went.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Without server binaries nothing here can run, and a test that does not run must not pass.
const MISSING: &str =
    "these tests need the server binaries of PostgreSQL 15 or newer: apt-get install -y postgresql";
/// The oldest server that is supported.
const VERSION_MIN: u32 = 15;

/// Reads orders until its input ends, which it does when the test process is gone: then it ends the server and removes
/// the folder. `$1` is the folder, `$2` where the binaries are; the rest goes to the server. The server in turn is told
/// to end if this shell is killed.
const SCRIPT: &str = r#"
trap '' HUP INT PIPE TERM
folder=$1 bin=$2; shift 2
guard=; command -v setpriv >/dev/null && guard='setpriv --pdeathsig QUIT'
server=
stop() {
    [ -n "$server" ] || return 0
    kill -QUIT "$server" 2>/dev/null
    wait "$server"
    server=
}
# Signals the server and its sessions, each of which is a process.
all() {
    sessions=
    for stat in /proc/[0-9]*/stat; do
        read -r pid _ _ parent _ <"$stat" 2>/dev/null && [ "$parent" = "$server" ] && sessions="$sessions $pid"
    done
    kill "$1" "$server" $sessions 2>/dev/null
}
while read -r order; do
    case $order in
    init)
        "$bin/initdb" -D "$folder/data" -U admin --auth=password --pwfile="$folder/password" \
            --encoding=UTF8 --locale=C --no-sync >"$folder/log" 2>&1
        echo "$?"
        rm -f "$folder/password" ;;
    start)
        $guard "$bin/postgres" -D "$folder/data" "$@" >>"$folder/log" 2>&1 </dev/null & server=$!
        echo 0 ;;
    stop) stop; echo 0 ;;
    freeze) all -STOP; echo 0 ;;
    thaw) all -CONT; echo 0 ;;
    esac
done
stop
rm -rf "$folder"
"#;

/// The shell, and what it looks after.
#[derive(Debug)]
pub(super) struct Supervisor {
    folder: PathBuf,
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Makes a cluster that `admin` may use with this password; the server is not started yet.
    pub(super) fn start(password: &str, settings: &[String]) -> Self {
        let binaries = binaries().expect(MISSING);
        let folder = tempfile::Builder::new()
            .prefix("mission-control-postgres-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .expect("a temporary folder")
            .keep();
        fs::write(folder.join("password"), password).expect("a file in the temporary folder");
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "supervisor"]).args([&folder, &binaries]);
        command.args(["-c", &format!("unix_socket_directories={}", folder.display())]);
        for setting in settings {
            command.args(["-c", setting]);
        }
        if let Some((user, group)) = unprivileged() {
            // The server refuses to run as root.
            for path in [folder.clone(), folder.join("password")] {
                chown(path, Some(user), Some(group)).expect("root may give files away");
            }
            command.uid(user).gid(group);
        }
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().expect("sh");
        let orders = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("its output is a pipe"));
        let mut supervisor = Self { folder, shell, orders, answers };
        supervisor.order("init");
        supervisor
    }

    /// Has an order carried out: `start`, `stop`, which is a crash, `freeze` or `thaw`.
    pub(super) fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("it takes orders until it is dropped");
        writeln!(orders, "{order}").expect("the supervisor lives as long as this process");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the supervisor answers");
        assert_eq!(answer.trim(), "0", "the server could not {order}:\n{}", self.log());
    }

    /// What the server wrote.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // The end of its input is all that it waits for.
        self.orders = None;
        let _ = self.shell.wait();
    }
}

/// The folder of the server's programs, and of those that come with it.
///
/// # Panics
///
/// Where there is none.
#[must_use]
pub fn server_programs() -> PathBuf {
    binaries().expect(MISSING)
}

/// The folder of the server binaries: the one on the path, or else the newest of the distribution's.
fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find_map(|folder| {
        let postgres = fs::canonicalize(folder.join("postgres")).ok()?;
        usable(postgres.parent()?)
    });
    on_path
        .or_else(|| {
            let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
            versions
                .filter_map(|version| usable(&version.path().join("bin")))
                .max_by_key(|(version, _)| *version)
        })
        .map(|(_, folder)| folder)
}

fn usable(folder: &Path) -> Option<(u32, PathBuf)> {
    let told = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    // "postgres (PostgreSQL) 15.18 (Debian …)"
    let number: String = told.split(' ').nth(2)?.chars().take_while(char::is_ascii_digit).collect();
    let version = number.parse().ok().filter(|version| *version >= VERSION_MIN)?;
    folder.join("initdb").exists().then(|| (version, folder.to_owned()))
}

/// User and group to run the server as, if this is root.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let told = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&told.stdout).trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"].into_iter().find_map(|user| id(&["-u", user]).zip(id(&["-g", user])))
}
