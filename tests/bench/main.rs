//! Measures the service against its aims: `cargo run --release -p tests --bin bench`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a measurement that fails must stop, and its results are what it prints"
)]

mod commits;
mod creates;
mod database;
mod floor;
mod http;
mod jobs;
mod log;
mod numbers;
mod processes;
mod report;
mod sections;
mod stock;
mod waiting;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use report::Report;
use sections::{Bench, Section};

/// Measures the service on this machine, prints one table and one line of JSON. Takes less than five minutes.
#[derive(Debug, Parser)]
#[command(name = "bench", after_help = MEANING)]
struct Arguments {
    /// Each measurement for a fraction of its time: to see that it works, not to judge by.
    #[arg(long)]
    quick: bool,
    /// Only these; by default all but `log`, which takes some minutes by itself.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program is in processes that it starts itself.
#[derive(Debug, Subcommand)]
enum Part {
    /// A gateway, until its input ends.
    #[command(hide = true)]
    Gateway,
    /// Writers on a SQLite file; prints how many commits they made.
    #[command(hide = true)]
    Commits { file: PathBuf, writers: usize, milliseconds: u64 },
}

const MEANING: &str = "\
What each number means. Everything runs on this machine and shares its cores: the service, the PostgreSQL server, the \
gateway (a process of its own) and the clients (this process). Every file and database is new; PostgreSQL has fsync on.

creates     POST /api/v1/gateways, each client waiting for its 200 before it sends the next. p50 and p99 in
            milliseconds. `syncs per create` at 32 clients: fdatasync and fsync of the whole server, counted by strace
            (SQLite), or wal_sync of pg_stat_wal (PostgreSQL). `floor`: a bare client that makes the same calls in the
            same order to the same gateway, and syncs 1 KiB to a file twice. `cpu`: processor time of the server and of
            the gateway per create at 32 clients; on n cores nobody makes more than 1000 n / (the sum in ms) a second.
reads       GET of one gateway, and of a list of 50, with 32 clients.
process     Cold start: from exec to the first 200 of /readyz, with a new file and with one that is there. RSS: resident
            memory after the start, and after the creates and reads.
commits     The store alone, in this process: one event and one job per commit, ordered, chained, notified. `plain`:
            both rows inserted by each command in a transaction of its own, unordered, without a chain; `one
            statement`: the same as a single statement. `syncs per commit` at 128 writers, as above. `chain : none`:
            the rate, to what it would be if a link of the chain took no time; the time of a link is measured alone.
jobs        `no-op`: jobs that are claimed, started as tasks, and ended in a commit with an event, 256 at once. `real`:
            the product's worker with its cheapest job, which reads its stream and decides first. `stock`: no-op jobs
            of apalis-postgres at the best of three sizes of concurrency and batch, without an event. `pick-up`: from
            the return of the commit (of another store on the same database) to the start of the job in an idle worker;
            stock is notified and looks every 500 ms.
waiting     10,000 clients that wait for 500 operations on a server without a worker: growth of its RSS per client, and
            transactions of the database per second, against the same server without a client. PostgreSQL.
log         A million events (100,000 with --quick), made by the core and the store. `raw scan`: every column of every
            event in order, in one query, by the same driver in this process. `verify`, `rebuild` and `export`: the
            sub-commands as real processes, from exec to exit; `memory` is the most that the process ever had. `reads`:
            GET of one gateway by 4 clients that pause 5 ms between two reads, alone and beside a rebuild. `longest
            commit`: of registrations every 20 ms, answered when they are recorded, beside another rebuild.";

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Gateway) => processes::be_a_gateway().await,
        Some(Part::Commits { file, writers, milliseconds }) => {
            sections::be_writers(&file, writers, Duration::from_millis(milliseconds)).await;
        }
        None => {
            let time = Duration::from_millis(if arguments.quick { 500 } else { 3_000 });
            let share = if arguments.quick { 10 } else { 1 };
            let mut report = Report::default();
            Bench::new(time, share).await.run(&arguments.only, &mut report).await;
            println!("{}", report.table());
            println!("{}", report.json());
        }
    }
}
