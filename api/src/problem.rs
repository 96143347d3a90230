//! Every failure as the answer that is documented for it (RFC 9457). The statuses are in [`codes`], nowhere else.

pub mod codes;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use shared::{
    chain::chain,
    execute::ExecuteError,
    problem::{FieldError, Problem},
    register::RegisterError,
    store::{CommitError, StoreError},
};

/// Media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What a handler returns when it does not return the success. Boxed: it is rare, and large.
#[derive(Debug)]
pub struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    problem: Problem,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// A failure with its documented status and title.
    pub fn new(code: &'static codes::Entry, detail: impl Into<String>) -> Self {
        Problem::new(code.code, code.status, code.title, detail).into()
    }

    /// The failure of a request with one or more faults: the gravest gives code and status, of equal ones the first.
    #[must_use]
    pub fn of_faults(faults: Vec<FieldError>) -> Self {
        let gravest = faults.iter().min_by_key(|fault| codes::of(&fault.code).status);
        let (code, detail) = match gravest {
            Some(fault) if faults.len() == 1 => (codes::of(&fault.code), fault.detail.clone()),
            Some(fault) => {
                let others = faults.len() - 1;
                let more = format!("{} ({others} more in `errors`)", fault.detail);
                (codes::of(&fault.code), more)
            }
            None => (&codes::INTERNAL_ERROR, String::new()),
        };
        let mut problem = Problem::new(code.code, code.status, code.title, detail);
        problem.errors = faults;
        problem.into()
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// The same, changed.
    #[must_use]
    pub fn change(mut self, change: impl FnOnce(&mut Problem)) -> Self {
        change(&mut self.0.problem);
        self
    }

    /// What is answered.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// Something broke that the caller cannot help; the cause goes to the log, not to the caller.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = chain(error), "a request failed");
        Self::new(&codes::INTERNAL_ERROR, "Something broke on our side. Tell the operator the `request_id`.")
    }

    fn store(error: &dyn std::error::Error) -> Self {
        tracing::warn!(error = chain(error), "the database could not be used");
        let detail = "The database of Mission Control is away. Nothing is lost that was answered; try again shortly \
                      (with an Idempotency-Key it is safe to repeat).";
        Self::new(&codes::STORE_UNAVAILABLE, detail).with(header::RETRY_AFTER, "1")
    }
}

/// What to do when nobody knows whether a change was recorded: it is told as what it is, never as a refusal.
const UNKNOWN: &str = "The database of Mission Control did not tell whether this was recorded. As soon as it is back, GET \
    /api/v1/operations/<`operation`> tells: 404 means that it was not. With an Idempotency-Key it is safe to repeat.";

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(Parts { problem, headers: vec![] }))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_away() { Self::store(&error) } else { Self::internal(&error) }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match &error {
            CommitError::Store { source, .. } if source.is_away() => {
                Self::store(&error).change(|problem| UNKNOWN.clone_into(&mut problem.detail))
            }
            CommitError::Store { .. } => Self::internal(&error),
            CommitError::Conflict { .. } => {
                let detail = "Other changes of this gateway came in between. Try again.";
                Self::new(&codes::GATEWAY_BUSY, detail)
            }
            CommitError::KeyTaken { .. } | CommitError::LeaseLost { .. } | CommitError::NotEmpty => {
                Self::internal(&error)
            }
        }
    }
}

impl From<ExecuteError> for Failure {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Commit(error) => error.into(),
            ExecuteError::Store(error) => error.into(),
            refused @ ExecuteError::Refused(_) => Self::internal(&refused),
        }
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Commit(error) => error.into(),
            RegisterError::Execute(error) => error.into(),
            RegisterError::Vault(error) => Self::internal(&error),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Parts { problem, headers } = *self.0;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)]).into_response();
        response.headers_mut().extend(headers.into_iter().collect::<HeaderMap>());
        // The body is written last, when the request's id and path are known.
        response.extensions_mut().insert(Unwritten(std::sync::Arc::new(problem)));
        response
    }
}

/// A problem on its way out; [`finish`] writes it.
#[derive(Debug, Clone)]
pub struct Unwritten(std::sync::Arc<Problem>);

/// Writes the problem's body, with the request's id and path where the problem has none of its own.
#[must_use]
pub fn finish(mut response: Response, request_id: &str, path: &str) -> Response {
    let Some(Unwritten(problem)) = response.extensions_mut().remove::<Unwritten>() else { return response };
    let mut problem = std::sync::Arc::unwrap_or_clone(problem);
    if problem.instance.is_empty() {
        path.clone_into(&mut problem.instance);
    }
    problem.request_id.get_or_insert_with(|| request_id.to_owned());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    *response.body_mut() = body.into();
    response
}
