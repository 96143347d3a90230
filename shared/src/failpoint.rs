//! Named points at which a test lets a process die: before and after each commit, each claim of jobs, each gateway call.
//!
//! They are there only with debug assertions. A release build has none: [`reach`] is empty there, and neither the name of
//! its variable nor that of a point is in the program. In a debug build nothing happens either, unless
//! `MISSION_CONTROL_FAILPOINTS` names a folder. Then each point that is reached is a line of the file `reached` in it, and
//! the process gets a SIGKILL at the point that stands in the file `armed`.

use std::fmt;

/// On which side of what a point stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing of it has happened.
    Before,
    /// It has happened, and nobody was told.
    After,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// Reaches a point, for example `before commit GatewayRequested`. Blocks the thread if the process is to die.
#[inline]
pub fn reach(when: When, what: &'static str, name: impl FnOnce() -> String) {
    #[cfg(debug_assertions)]
    deadly::reach(|| format!("{when} {what} {}", name()));
    #[cfg(not(debug_assertions))]
    let _ = (when, what, name);
}

#[cfg(debug_assertions)]
mod deadly {
    use std::{
        env,
        fs::{File, read_to_string},
        io::Write as _,
        path::PathBuf,
        process::{Command, abort},
        sync::OnceLock,
    };

    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();

    pub(super) fn reach(point: impl FnOnce() -> String) {
        let folder = FOLDER.get_or_init(|| env::var_os("MISSION_CONTROL_FAILPOINTS").map(PathBuf::from));
        let Some(folder) = folder else { return };
        let point = point();
        let reached = File::options().append(true).create(true).open(folder.join("reached"));
        let _ = reached.and_then(|mut reached| reached.write_all(format!("{point}\n").as_bytes()));
        if read_to_string(folder.join("armed")).is_ok_and(|armed| armed == point) {
            die();
        }
    }

    /// By a shell, for a process cannot send itself a signal without unsafe code.
    fn die() -> ! {
        let _ = Command::new("/bin/sh").args(["-c", "kill -s KILL \"$PPID\""]).status();
        // No shell: the test sees the other signal.
        abort();
    }
}
