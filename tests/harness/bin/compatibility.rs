//! Makes docs/compatibility.md of what the tests with real gateways saw.
#![expect(clippy::print_stderr, reason = "what differs is what it tells")]

use std::{fs, io, path::PathBuf, process::ExitCode, thread};

use clap::Parser;
use harness::openclaw::compatibility::{document, facts, rows};

/// Writes docs/compatibility.md from what the last run of the tests with real gateways kept.
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 written, or equal; 1 the facts differ, or there are none.")]
struct Arguments {
    /// Write nothing, and fail when the facts (not the times) of the file are not those of the run.
    #[arg(long)]
    check: bool,
    /// The file.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md"))]
    file: PathBuf,
}

fn main() -> io::Result<ExitCode> {
    let Arguments { check, file } = Arguments::parse();
    let rows = rows().inspect_err(|_| eprintln!("run first: cargo test -p tests --test openclaw"))?;
    let seen = document(&rows, &machine());
    if !check {
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(file, seen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let committed = fs::read_to_string(&file)?;
    let (committed, seen) = (facts(&committed), facts(&seen));
    if committed == seen {
        return Ok(ExitCode::SUCCESS);
    }
    let lacks = |text: &str, line: &&str| !text.lines().any(|other| other == *line);
    for line in committed.lines().filter(|line| lacks(seen, line)) {
        eprintln!("not seen: {line}");
    }
    for line in seen.lines().filter(|line| lacks(committed, line)) {
        eprintln!("seen:     {line}");
    }
    eprintln!("docs/compatibility.md is not what this run saw: cargo run -p tests --bin compatibility");
    Ok(ExitCode::FAILURE)
}

/// One sentence about this machine, as far as it tells.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    match (proc("cpuinfo", "model name"), proc("meminfo", "MemTotal").and_then(|kb| gigabytes(&kb))) {
        (Some(model), Some(memory)) => {
            format!("Measured on {system}, {cores} of {model}, {memory} GB of memory.")
        }
        _ => format!("Measured on {system}, {cores}."),
    }
}

fn proc(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{file}")).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn gigabytes(kilobytes: &str) -> Option<u64> {
    let kilobytes: u64 = kilobytes.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes >> 20)
}
