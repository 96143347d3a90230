//! The storage that apalis brings for PostgreSQL, on the same server: what ours is compared with.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage, queries::push_tasks};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::sync::mpsc;

use crate::numbers::{Times, float};

/// For everything that is waited for here.
const LIMIT: Duration = Duration::from_mins(1);

/// A database with its schema in it.
pub(crate) async fn open(url: &str) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(20).connect(url).await.expect("the database is there");
    PostgresStorage::<()>::setup(&pool).await.expect("its schema can be made");
    pool
}

async fn push(pool: &PgPool, queue: &str, numbers: std::ops::Range<u64>) {
    let task = |number: u64| TaskBuilder::new(number.to_string().into_bytes()).max_attempts(1).build();
    let mut connection = pool.acquire().await.expect("a connection");
    push_tasks(&mut *connection, queue, numbers.map(task).collect()).await.expect("jobs are taken");
}

async fn count(_: u64, done: Data<Arc<AtomicUsize>>) -> Result<(), BoxDynError> {
    done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

async fn note(_: u64, starts: Data<mpsc::UnboundedSender<Instant>>) -> Result<(), BoxDynError> {
    let _ = starts.send(Instant::now());
    Ok(())
}

/// No-op jobs per second, without an outcome event, with so many at once and so many per fetch.
pub(crate) async fn no_ops_per_second(pool: &PgPool, jobs: usize, at_once: usize) -> f64 {
    let queue = format!("bench-{at_once}");
    for first in (0..jobs).step_by(1_000) {
        let last = (first + 1_000).min(jobs);
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        push(pool, &queue, number(first)..number(last)).await;
    }
    let config = Config::default().queue(queue.as_str()).batch_size(at_once);
    let backend: PostgresStorage<u64> = PostgresStorage::new(pool).with_config(config);
    let done = Arc::new(AtomicUsize::new(0));
    let context = WorkerContext::new(format!("{queue}-worker").as_str());
    let worker = WorkerBuilder::new(&context)
        .backend(backend.poll_with_interval(Duration::from_millis(50)))
        .data(Arc::clone(&done))
        .concurrency(at_once)
        .build(count);
    let started = Instant::now();
    let running = tokio::spawn(worker.run());
    // What it has taken it also has to mark as done; that is what its own count of rows tells.
    let left = "select count(*) from apalis.jobs where job_type = $1 and status <> 'Done'";
    let ended = async {
        loop {
            if done.load(Ordering::Relaxed) >= jobs {
                let left: i64 = sqlx::query_scalar(left)
                    .bind(&queue)
                    .fetch_one(pool)
                    .await
                    .expect("its table can be read");
                if left == 0 {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.expect("the jobs end in time");
    let elapsed = started.elapsed();
    running.abort();
    float(jobs) / elapsed.as_secs_f64()
}

/// From the return of a push to the begin of its job in an idle worker that is notified and looks every half second.
pub(crate) async fn pick_ups(pool: &PgPool, jobs: usize) -> Times {
    let (sender, mut starts) = mpsc::unbounded_channel::<Instant>();
    let queue = "bench-idle";
    let backend: PostgresStorage<u64> =
        PostgresStorage::new(pool).with_config(Config::default().queue(queue).batch_size(10));
    let context = WorkerContext::new("bench-idle-worker");
    let worker = WorkerBuilder::new(&context)
        .backend(backend.with_pubsub().poll_with_interval(Duration::from_millis(500)))
        .data(sender)
        .build(note);
    let running = tokio::spawn(worker.run());
    let started = Instant::now();
    let mut each = vec![];
    for number in 0..jobs + 10 {
        let id = u64::try_from(number).unwrap_or_default();
        push(pool, queue, id..id + 1).await;
        let pushed = Instant::now();
        let begin = tokio::time::timeout(LIMIT, starts.recv()).await.expect("it begins in time");
        if number >= 10 {
            each.push(begin.expect("the worker lives").saturating_duration_since(pushed));
        }
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    running.abort();
    Times::new(each, started.elapsed())
}
