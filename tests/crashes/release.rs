//! What ships has no failpoints.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// A program with one point, as this compiler makes it with these flags.
fn program(flags: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("main.rs"), folder.path().join("program"));
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/src/failpoint.rs");
    let text = format!(
        "#[path = \"{}\"] pub mod failpoint;\n\
         fn main() {{ failpoint::reach(failpoint::When::Before, \"commit\", || \"SomethingHappened\".to_owned()); }}",
        module.display()
    );
    std::fs::write(&source, text).unwrap();
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    let mut command = Command::new(rustc);
    command
        .args(["--edition", "2024", "-C", "strip=debuginfo"])
        .args(flags)
        .arg("-o")
        .arg(&program)
        .arg(&source);
    let compiled = command.stdin(Stdio::null()).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    std::fs::read(program).unwrap()
}

fn holds(program: &[u8], text: &str) -> bool {
    program.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_release_build_has_no_failpoint_and_a_debug_build_has() {
    for (flags, is_there) in [(["-C", "opt-level=3"], false), (["-C", "debug-assertions=on"], true)] {
        let program = program(&flags);
        for text in ["MISSION_CONTROL_FAILPOINTS", "SomethingHappened"] {
            assert_eq!(holds(&program, text), is_there, "{text} with {flags:?}");
        }
    }
}
