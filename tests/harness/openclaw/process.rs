//! One gateway process. It ends with the test, however the test ends.

use std::{
    fs::File,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use super::install::{Installed, root};

/// So many at once on one machine, over all test binaries: each takes up to 1.5 GB and a core when it starts.
const SLOTS: [&str; 2] = ["slot-0.lock", "slot-1.lock"];
/// How long a test waits for the others.
const SLOT_LIMIT: Duration = Duration::from_mins(20);
/// From SIGTERM to SIGKILL, in tenths of a second; the supervisor counts them.
const STOP_TENTHS: &str = "200";

/// Runs the gateway and waits for its own input: the line `stop` ends the gateway with SIGTERM and, after a limit,
/// SIGKILL; the end of the input, which comes even if the test is killed, ends it at once. Nothing of the process group
/// survives, nor of those that left it (their environment names the gateway's own folder). Should the supervisor itself be killed,
/// the gateway goes with it. Descriptor 2 is the slot's lock file: the slot is free when all of this is gone.
const SUPERVISOR: &str = r#"
tenths=$1; shift
exec 3>&2 2>&1 4<&0
guard=; command -v setpriv >/dev/null && guard='setpriv --pdeathsig KILL'
$guard "$@" </dev/null 3>&- 4<&- &
gateway=$!
(
  how=kill
  read -r how <&4
  if [ "$how" = stop ] && kill -TERM $gateway; then
    while [ $tenths -gt 0 ] && kill -0 $gateway; do sleep 0.1; tenths=$((tenths - 1)); done
    [ $tenths -gt 0 ] || echo "supervisor: the gateway ignored SIGTERM"
  fi
  kill -KILL $gateway
) 2>/dev/null &
wait $gateway
echo "supervisor: the gateway ended with $?"
for environ in $(grep -slF "OPENCLAW_STATE_DIR=$OPENCLAW_STATE_DIR" /proc/[0-9]*/environ); do
  process=${environ#/proc/}; process=${process%/environ}
  [ "$process" = $$ ] || kill -KILL "$process"
done 2>/dev/null
kill -KILL -$$
"#;

/// Everything that would reach out, restart itself or look for devices is switched off.
const SWITCHES: [&str; 10] = [
    "OPENCLAW_SKIP_CHANNELS",
    "OPENCLAW_SKIP_PROVIDERS",
    "OPENCLAW_SKIP_CRON",
    "OPENCLAW_SKIP_GMAIL_WATCHER",
    "OPENCLAW_SKIP_CANVAS_HOST",
    "OPENCLAW_SKIP_BROWSER_CONTROL_SERVER",
    "OPENCLAW_DISABLE_BONJOUR",
    "OPENCLAW_NO_RESPAWN",
    "OPENCLAW_NO_AUTO_UPDATE",
    "DO_NOT_TRACK",
];

/// Who wants two slots holds this first: two that hold one each would wait for each other for ever.
const PAIR: &str = "pair.lock";

/// The right to run one gateway.
#[derive(Debug)]
pub(super) struct Slot {
    lock: File,
    /// The right to have two.
    _pair: Option<File>,
}

/// Waits for two free slots.
pub(super) async fn two_slots() -> (Slot, Slot) {
    let pair = File::create(root().join(PAIR)).expect("the target folder can be written");
    let pair = tokio::task::spawn_blocking(move || pair.lock().map(|()| pair)).await;
    let pair = pair.expect("taking a lock does not panic").expect("the lock can be taken");
    let first = Slot { _pair: Some(pair), ..slot().await };
    (first, slot().await)
}

/// Waits for a free slot. A test holds one at most, but for those of [`two_slots`].
pub(super) async fn slot() -> Slot {
    let root = root();
    let free = async {
        loop {
            for name in SLOTS {
                let lock = File::create(root.join(name)).expect("the target folder can be written");
                if lock.try_lock().is_ok() {
                    return Slot { lock, _pair: None };
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SLOT_LIMIT, free).await.expect("another test gives its gateway back")
}

/// A running gateway under its supervisor.
#[derive(Debug)]
pub(super) struct Process {
    supervisor: Child,
    input: Option<ChildStdin>,
}

impl Process {
    /// Starts it. `log` takes what it prints.
    pub(super) fn start(installed: &Installed, folder: &Path, port: u16, log: File, slot: &Slot) -> Self {
        let lock = slot.lock.try_clone().expect("a descriptor can be doubled");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SUPERVISOR, "openclaw-supervisor", STOP_TENTHS]);
        command.arg(&installed.node).arg(&installed.openclaw).args(["gateway", "run", "--port"]);
        command.arg(port.to_string()).current_dir(folder).env_clear().envs(environment(folder));
        command.stdin(Stdio::piped()).stdout(log).stderr(lock).process_group(0);
        let mut supervisor = command.spawn().expect("/bin/sh can be started");
        let input = supervisor.stdin.take();
        Self { supervisor, input }
    }

    /// How its supervisor ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.supervisor.try_wait().expect("a child can be waited for")
    }

    /// SIGTERM, then SIGKILL after 20 s.
    pub(super) async fn stop(mut self) -> ExitStatus {
        if let Some(mut input) = self.input.take() {
            // An error says that it has ended already.
            let _ = input.write_all(b"stop\n").await;
            let status = timeout(Duration::from_secs(30), self.supervisor.wait()).await;
            drop(input);
            return status.expect("a supervisor ends").expect("a child can be waited for");
        }
        unreachable!("the input is there until it is stopped")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // SIGKILL acts at once; without this the gateway would write into a folder that is being removed.
        let until = std::time::Instant::now() + Duration::from_secs(5);
        while self.ended().is_none() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A clean environment: nothing of the person who runs the tests.
pub(super) fn environment(folder: &Path) -> Vec<(&'static str, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut environment = vec![
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("HOME", path("home")),
        ("TMPDIR", path("tmp")),
        ("OPENCLAW_STATE_DIR", path("state")),
        ("OPENCLAW_CONFIG_PATH", path("openclaw.json")),
    ];
    let switches = SWITCHES.iter().map(|switch| (*switch, "1".to_owned()));
    environment.extend(switches);
    environment
}
