//! Changing a gateway that is there: a command, its job, and waiting for the outcome by the same rule as a creation.

use std::time::Duration;

use axum::{http::HeaderMap, response::Response};
use shared::{
    commit::{Commit, SecretChange},
    domain::gateway::{Command, Gateway, Known, Refusal, patience::Patience},
    execute::{ExecuteError, execute, load},
    ids::{GatewayId, JobId, OperationId},
    job::{Job, Kind},
    store::CommitError,
    watch::Waiter,
};

use crate::{
    auth::Member,
    gateways::not_found,
    prefer::Prefer,
    problem::{Failure, codes},
    request::touches,
    state::App,
    wait::{accepted, finished, outcome, shown},
};

/// How long a caller waits, and what that means for the worker.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// What the caller prefers.
    pub prefer: Prefer,
    /// How long it waits.
    pub limit: Duration,
    /// Recorded with the operation (DESIGN.md §6).
    pub patience: Patience,
}

impl Wait {
    /// By the `Prefer` header.
    #[must_use]
    pub fn of(headers: &HeaderMap, app: &App) -> Self {
        let prefer = Prefer::of(headers);
        let limit = prefer.patience(app.limits.sync_wait);
        let waits = !prefer.respond_async && (prefer.wait.is_none() || limit >= Duration::from_secs(30));
        let patience = if waits { Patience::Waiting } else { Patience::Background };
        Self { prefer, limit, patience }
    }

    /// A place among those who wait, taken before anything is written: the outcome cannot fall between the two.
    #[must_use]
    pub fn register(self, app: &App, operation: OperationId) -> Option<Waiter> {
        if self.limit.is_zero() { None } else { app.waiters.register(operation).ok() }
    }

    /// The outcome if it comes in time, else 202 with the operation as it is.
    ///
    /// # Errors
    ///
    /// The database is away.
    pub async fn answer(
        self,
        app: &App,
        waiter: Option<Waiter>,
        operation: OperationId,
    ) -> Result<Response, Failure> {
        if let Some(outcome) = outcome(app, waiter, self.limit).await {
            return Ok(finished(&outcome, self.prefer));
        }
        let gone = || Failure::new(&codes::INTERNAL_ERROR, "The operation was recorded but cannot be read.");
        let read = shown(&app.store.operation(operation).await?.ok_or_else(gone)?)?;
        // It may have ended in this moment; who did not ask for 202 gets the outcome then.
        let is_told = read.is_finished() && !self.prefer.respond_async;
        Ok(if is_told { finished(&read, self.prefer) } else { accepted(&read, self.prefer) })
    }
}

/// The gateway's state, if it is this organization's, whatever became of its registration.
///
/// # Errors
///
/// 404.
pub async fn owned(app: &App, member: &Member, id: GatewayId) -> Result<Box<Known>, Failure> {
    match load(app.store.as_ref(), id).await? {
        Gateway::Known(known) if known.request.organization_id == member.organization => Ok(known),
        Gateway::Known(_) | Gateway::Unknown => Err(not_found(&id.to_string())),
    }
}

/// What is done by a job.
#[derive(Debug)]
pub struct Change<'a> {
    /// To what.
    pub known: &'a Known,
    /// By which job.
    pub kind: Kind,
    /// Where the job dials.
    pub gateway_key: String,
    /// What is sealed or erased with the first event.
    pub secrets: Vec<SecretChange>,
}

impl<'a> Change<'a> {
    /// A job that dials the gateway where it is.
    #[must_use]
    pub fn of(known: &'a Known, kind: Kind) -> Self {
        Self { known, kind, gateway_key: known.request.url.key(), secrets: vec![] }
    }
}

/// Records a command together with its job, then waits as the caller prefers.
///
/// # Errors
///
/// 404 or 409 where the state does not allow it; the database is away.
pub async fn start(
    app: &App,
    member: &Member,
    change: Change<'_>,
    wait: Wait,
    command: impl FnOnce(OperationId) -> Command,
) -> Result<Response, Failure> {
    let operation = OperationId::mint(app.clock.now());
    touches(operation);
    let waiter = wait.register(app, operation);
    let context = member.context();
    let gateway = change.known.request.gateway;
    let enqueue = |commit: &mut Commit| {
        commit.secrets.clone_from(&change.secrets);
        commit.jobs.push(Job {
            id: JobId::mint(commit.recorded_at),
            kind: change.kind,
            gateway,
            operation,
            gateway_key: change.gateway_key.clone(),
            run_at: commit.recorded_at,
            attempt: 1,
            created_at: commit.recorded_at,
            traceparent: context.traceparent.clone(),
        });
    };
    let target = (gateway, command(operation));
    let executed = execute(app.store.as_ref(), app.clock.as_ref(), target, &context, enqueue).await;
    executed.map_err(|error| {
        // It may be recorded all the same, where the database did not tell.
        let is_unknown = matches!(error, ExecuteError::Commit(CommitError::Store { .. }));
        let failure = refused(error, &gateway.to_string());
        let named = is_unknown.then(|| operation.to_string());
        if named.is_some() { failure.change(|problem| problem.operation = named) } else { failure }
    })?;
    wait.answer(app, waiter, operation).await
}

/// The answer to a command that the state does not allow.
#[must_use]
pub fn refused(error: ExecuteError, gateway: &str) -> Failure {
    let ExecuteError::Refused(refusal) = error else { return error.into() };
    let failure = |code, detail: &str| Failure::new(code, format!("{refusal}. {detail}"));
    match &refusal {
        Refusal::NotRegistered => not_found(gateway),
        Refusal::NotFailed(_) => failure(&codes::NOT_RETRYABLE, "Only a failed registration is run again."),
        Refusal::TokenErased(_) => failure(&codes::NOT_RETRYABLE, "POST the gateway again, with its token."),
        Refusal::Busy(operation) => {
            let operation = operation.to_string();
            failure(&codes::GATEWAY_BUSY, "Wait until it has ended.")
                .change(|problem| problem.operation = Some(operation))
        }
        Refusal::OtherRevision { .. } => {
            failure(&codes::PRECONDITION_FAILED, "Read the gateway again and repeat the change.")
        }
        Refusal::NotCancellable(_) => failure(&codes::GATEWAY_BUSY, "Wait until it has ended."),
        Refusal::Finished(_) => failure(&codes::OPERATION_FINISHED, "Its outcome stands."),
        Refusal::AlreadyRegistered(_) | Refusal::AlreadyEnded { .. } => Failure::internal(&refusal),
    }
    .change(|problem| problem.gateway_id = Some(gateway.to_owned()))
}
