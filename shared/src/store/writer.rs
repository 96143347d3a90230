//! The one writer of a process: takes what waits, writes the commits of it in one transaction, answers each. The same
//! for every database; what a transaction is made of is the database's own.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    BATCH_BYTES_MAX, BATCH_COMMITS_MAX, CommitError, HandedOver, LocalWorker, Stats, StoreError, plan::Plan,
};
use crate::{
    commit::{Commit, Finish, Receipt, Then},
    failpoint::{When, reach},
    meter,
};

/// Writes that may wait for the writer before the next one waits to be taken.
const WAITING_MAX: usize = 4_096;

/// Where an answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;
type Receipts = oneshot::Sender<Result<Receipt, CommitError>>;
type Waiting = (Commit, Receipts);

/// A transaction that is durable.
pub(super) struct Written {
    /// What it wrote.
    pub(super) plan: Plan,
    /// There may be a job that a worker can take now.
    pub(super) wakes: bool,
}

/// A database, as its writer uses it.
pub(super) trait Database: Send + 'static {
    /// Writes that are not commits; each is done alone and answers by itself.
    type Other: Send + 'static;

    /// Writes a batch in one transaction. On an error nothing is written, or nobody knows.
    fn write(
        &mut self,
        batch: &[Commit],
        local: Option<&LocalWorker>,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Does one other write.
    fn other(&mut self, write: Self::Other) -> impl Future<Output = ()> + Send;

    /// Ends the connection.
    fn close(self) -> impl Future<Output = ()> + Send;
}

enum Write<O> {
    Commit { commit: Box<Commit>, answer: Receipts },
    Other(O),
    Close { answer: oneshot::Sender<()> },
}

/// What the writer tells the rest of the process.
#[derive(Debug)]
pub(super) struct Signals {
    position: watch::Sender<u64>,
    enqueued: Arc<Notify>,
    local: Mutex<Option<LocalWorker>>,
    transactions: AtomicU64,
    commits: AtomicU64,
}

impl Signals {
    /// Of a log that ends at `position`.
    pub(super) fn new(position: u64) -> Self {
        Self {
            position: watch::Sender::new(position),
            enqueued: Arc::default(),
            local: Mutex::default(),
            transactions: AtomicU64::default(),
            commits: AtomicU64::default(),
        }
    }

    pub(super) fn positions(&self) -> watch::Receiver<u64> {
        self.position.subscribe()
    }

    /// The log is known to reach this far; news that come late change nothing. Returns whether it was news.
    pub(super) fn reaches(&self, position: u64) -> bool {
        self.position.send_if_modified(|known| {
            let is_news = *known < position;
            *known = position.max(*known);
            is_news
        })
    }

    pub(super) fn enqueued(&self) -> Arc<Notify> {
        Arc::clone(&self.enqueued)
    }

    /// There may be a job to take.
    pub(super) fn wake(&self) {
        self.enqueued.notify_one();
    }

    pub(super) fn attach(&self, worker: Option<LocalWorker>) {
        *self.local.lock().unwrap_or_else(PoisonError::into_inner) = worker;
    }

    fn local(&self) -> Option<LocalWorker> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { transactions: self.transactions.load(Relaxed), commits: self.commits.load(Relaxed) }
    }

    fn count(&self, answers: &[Result<Receipt, CommitError>], took: Duration) {
        self.transactions.fetch_add(1, Relaxed);
        self.commits.fetch_add(u64::try_from(answers.len()).unwrap_or(u64::MAX), Relaxed);
        let written = answers.iter().filter(|answer| answer.is_ok()).count();
        meter::transaction((written, answers.len() - written), took);
    }
}

/// The way to the writer.
#[derive(Debug)]
pub(super) struct Writes<O>(mpsc::Sender<Write<O>>);

impl<O: Send + 'static> Writes<O> {
    /// Starts the writer. It ends when it is told to, or when this is dropped.
    pub(super) fn start(database: impl Database<Other = O>, signals: Arc<Signals>) -> Self {
        let (writes, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(Writer { database, signals }.run(waiting));
        Self(writes)
    }

    /// Writes a commit, together with others that wait.
    pub(super) async fn commit(&self, commit: Commit) -> Result<Receipt, CommitError> {
        let closed =
            CommitError::Store { stream: commit.stream.clone(), source: Arc::new(StoreError::Closed) };
        let (answer, receipt) = oneshot::channel();
        let write = Write::Commit { commit: Box::new(commit), answer };
        if self.0.send(write).await.is_err() {
            return Err(closed);
        }
        receipt.await.unwrap_or(Err(closed))
    }

    /// Does another write and waits for its answer.
    pub(super) async fn ask<T>(&self, write: impl FnOnce(Answer<T>) -> O) -> Result<T, StoreError> {
        let (answer, waiting) = oneshot::channel();
        self.0.send(Write::Other(write(answer))).await.map_err(|_| StoreError::Closed)?;
        waiting.await.map_err(|_| StoreError::Closed)?
    }

    /// Ends what waits, then the writer.
    pub(super) async fn close(&self) {
        let (answer, waiting) = oneshot::channel();
        if self.0.send(Write::Close { answer }).await.is_ok() {
            let _ = waiting.await;
        }
    }
}

/// What was taken together, and what came of it so far.
#[derive(Default)]
struct Turn {
    batch: Vec<Waiting>,
    bytes: usize,
    silence: Option<Arc<StoreError>>,
    close: Option<oneshot::Sender<()>>,
}

struct Writer<D> {
    database: D,
    signals: Arc<Signals>,
}

impl<D: Database> Writer<D> {
    async fn run(mut self, mut waiting: mpsc::Receiver<Write<D::Other>>) {
        let mut taken = Vec::with_capacity(BATCH_COMMITS_MAX);
        while waiting.recv_many(&mut taken, BATCH_COMMITS_MAX).await > 0 {
            let mut turn = Turn::default();
            for write in taken.drain(..) {
                self.take(write, &mut turn).await;
            }
            self.end(&mut turn).await;
            // A database that says nothing is not asked again for each of those who came meanwhile: they have waited
            // as long as whoever was answered just now.
            let late = if turn.silence.is_some() { waiting.len() } else { 0 };
            for _ in 0..late {
                let Ok(write) = waiting.try_recv() else { break };
                self.take(write, &mut turn).await;
            }
            if let Some(answer) = turn.close {
                self.database.close().await;
                let _ = answer.send(());
                return;
            }
        }
    }

    async fn take(&mut self, write: Write<D::Other>, turn: &mut Turn) {
        match write {
            Write::Commit { commit, answer } => {
                if let Some(silence) = &turn.silence {
                    return fail(vec![(*commit, answer)], silence);
                }
                if turn.bytes + commit.bytes() > BATCH_BYTES_MAX && !turn.batch.is_empty() {
                    self.end(turn).await;
                }
                turn.bytes += commit.bytes();
                turn.batch.push((*commit, answer));
            }
            Write::Other(write) => self.database.other(write).await,
            Write::Close { answer } => turn.close = Some(answer),
        }
    }

    /// Writes what was collected, or fails it with what came before.
    async fn end(&mut self, turn: &mut Turn) {
        turn.bytes = 0;
        let batch = std::mem::take(&mut turn.batch);
        if batch.is_empty() {
            return;
        }
        if let Some(silence) = &turn.silence {
            return fail(batch, silence);
        }
        turn.silence = self.commit(batch).await;
    }

    /// One transaction for all; if a unique key is hit in spite of the plan, each again in its own. Returns the error if the
    /// database was silent.
    async fn commit(&mut self, batch: Vec<Waiting>) -> Option<Arc<StoreError>> {
        let (commits, answers): (Vec<Commit>, Vec<Receipts>) = batch.into_iter().unzip();
        let local = self.signals.local();
        let began = Instant::now();
        reach_each(When::Before, &commits);
        match self.database.write(&commits, local.as_ref()).await {
            Ok(written) => {
                reach_each(When::After, &commits);
                self.signals.count(&written.plan.answers, began.elapsed());
                self.publish(written, answers, (local.as_ref(), began));
                None
            }
            Err(error) if is_unique_violation(&error) && commits.len() > 1 => {
                tracing::error!(
                    commits = commits.len(),
                    error = crate::chain::chain(&error),
                    "a batch hit a unique key that the plan should have seen; writing its commits one by one"
                );
                let mut silence = None;
                for one in commits.into_iter().zip(answers) {
                    silence = Box::pin(self.commit(vec![one])).await;
                }
                silence
            }
            Err(error) => {
                let error = Arc::new(error);
                fail(commits.into_iter().zip(answers).collect(), &error);
                error.is_silence().then_some(error)
            }
        }
    }

    /// Tells everybody what is durable now.
    fn publish(
        &self,
        written: Written,
        answers: Vec<Receipts>,
        (local, began): (Option<&LocalWorker>, Instant),
    ) {
        let Written { plan, wakes } = written;
        self.signals.reaches(plan.head.position);
        if let Some(local) = local {
            for (lease, permit) in plan.handed_over {
                // A worker that is gone lets the lease run out, and the next one takes the job.
                let _ = local.jobs.send(HandedOver { lease, until: began + local.lease, permit });
            }
        }
        if wakes {
            self.signals.wake();
        }
        for (answer, receipt) in answers.into_iter().zip(plan.answers) {
            let _ = answer.send(receipt);
        }
    }
}

/// Answers commits that the database did not take, or did not say so.
fn fail(batch: Vec<Waiting>, error: &Arc<StoreError>) {
    meter::commits_failed(batch.len());
    for (commit, answer) in batch {
        let _ = answer.send(Err(CommitError::Store { stream: commit.stream, source: Arc::clone(error) }));
    }
}

fn reach_each(when: When, commits: &[Commit]) {
    for commit in commits {
        reach(when, "commit", || name(commit));
    }
}

/// What a commit is, for those who let a process die at it.
fn name(commit: &Commit) -> String {
    let events: Vec<&str> = commit.events.iter().map(|event| event.event_type.as_str()).collect();
    let without = match &commit.finish {
        Some(Finish { then: Then::Delete, .. }) => "job ended",
        Some(Finish { then: Then::RunAt { .. }, .. }) => "job postponed",
        None if commit.jobs.is_empty() => "nothing",
        None => "job enqueued",
    };
    if events.is_empty() { without.to_owned() } else { events.join("+") }
}

fn is_unique_violation(error: &StoreError) -> bool {
    let StoreError::Database { source, .. } = error else { return false };
    source.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
