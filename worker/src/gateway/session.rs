//! Many calls over one connection, which is dialled again when it is lost (DESIGN.md §6).
//!
//! No task runs beside the caller: dropping a future of this file drops its socket and nothing else.

mod dial;
mod wire;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::{
    domain::gateway::{
        failure::{Cause, Failure, Stage},
        patience::Patience,
        url::GatewayUrl,
    },
    secret::{Secret, sanitize},
};
use tracing::debug;

use super::{
    Dialer,
    connect::{Socket, timed_out},
    deadline::Deadline,
    frame::ErrorBody,
    handshake::{Field, Hello, Mode},
    refusal::{self, Refused},
    restart::Restarts,
    tls::Certificate,
};
use wire::{Broken, close};
pub use wire::{Pending, Progress};

/// How often one call is repeated because its connection was lost.
const LOSSES_MAX: u32 = 8;

/// An answer, or why the gateway refused.
pub type Answer = Result<Value, ErrorBody>;

/// Where to connect, as what and how patiently.
#[derive(Clone)]
pub struct Target<'a> {
    /// The gateway.
    pub url: &'a GatewayUrl,
    /// What it issued to our device earlier; tried first.
    pub device_token: Option<&'a Secret>,
    /// Its token or password.
    pub token: Option<&'a Secret>,
    /// Whether its certificate is checked.
    pub certificate: Certificate,
    /// As what we connect.
    pub mode: Mode,
    /// How often a dial is repeated.
    pub patience: Patience,
    /// Everything that must not appear in a text.
    pub secrets: Vec<Secret>,
}

/// One gateway for the time of one attempt.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Session<'a> {
    dialer: &'a Dialer,
    target: Target<'a>,
    /// The stage that a failure is told with.
    pub stage: Stage,
    field: Field,
    open: Option<(Socket, Hello)>,
    was_open: bool,
    /// An earlier attempt of this operation found it.
    was_found: bool,
    dials: u32,
    first_dial: Option<Instant>,
    /// Why the last dial came to nothing, until one comes to something.
    unreached: Option<Refused>,
    deadline: Deadline,
    restarts: Restarts,
    next_id: u64,
    is_rejected: bool,
    is_device_token_refused: bool,
    issued: Option<Secret>,
    /// The last answer that nobody waited for any more.
    late: Option<(String, Answer)>,
}

impl<'a> Session<'a> {
    /// Nothing is dialled before the first call. The attempt's deadline begins now.
    #[must_use]
    pub fn new(dialer: &'a Dialer, target: Target<'a>) -> Self {
        Self {
            dialer,
            target,
            stage: Stage::Handshake,
            field: Field::Token,
            open: None,
            was_open: false,
            was_found: false,
            dials: 0,
            first_dial: None,
            unreached: None,
            deadline: Deadline::after(dialer.limits.attempt, dialer.limits.asked),
            restarts: Restarts::default(),
            next_id: 0,
            is_rejected: false,
            is_device_token_refused: false,
            issued: None,
            late: None,
        }
    }

    /// A gateway that an earlier attempt found is expected back: that nobody listens there does not end this attempt.
    pub fn expect_back(&mut self) {
        self.was_found = true;
    }

    /// The token that the gateway issued to our device over this session, if it did.
    #[must_use]
    pub fn issued_token(&self) -> Option<&Secret> {
        self.issued.as_ref()
    }

    /// When the attempt ends.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline.clone()
    }

    /// How many connections were opened or tried.
    #[must_use]
    pub fn dials(&self) -> u32 {
        self.dials
    }

    /// Tells that a stage was passed.
    pub fn passed(&self, stage: Stage, since: Instant) {
        self.dialer.progress.passed(stage, since);
    }

    /// Whether the gateway rejected our credential: nothing may dial it again by itself.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.is_rejected
    }

    /// Whether a connection is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The gateway's hello, dialling if need be.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn hello(&mut self) -> Result<Hello, Refused> {
        loop {
            if let Some((_, hello)) = &self.open {
                return Ok(hello.clone());
            }
            self.ensure().await?;
        }
    }

    /// One call, repeated over a lost connection and while the gateway says that it is unavailable for now.
    ///
    /// # Errors
    /// No answer. A refusal is an answer.
    pub async fn ask(&mut self, method: &'static str, params: Value) -> Result<Answer, Refused> {
        let mut answers = self.ask_all(&[(method, params)]).await?;
        Ok(answers.pop().unwrap_or_else(|| Err(ErrorBody::default())))
    }

    /// Like [`Self::ask`], and a refusal ends the attempt.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn call(&mut self, method: &'static str, params: Value) -> Result<Value, Refused> {
        let answer = self.ask(method, params).await?;
        answer.map_err(|error| self.refused(method, &error))
    }

    /// What a refusal of this call means at the present stage.
    #[must_use]
    pub fn refused(&self, method: &str, error: &ErrorBody) -> Refused {
        refusal::of_call(self.stage, method, error, &self.target.secrets)
    }

    /// Foreign text, fit for an event or a log.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        sanitize(text, &self.target.secrets)
    }

    /// Many calls at once; answers in the order of the requests.
    ///
    /// # Errors
    /// Some were not answered.
    pub async fn ask_all(&mut self, requests: &[(&'static str, Value)]) -> Result<Vec<Answer>, Refused> {
        let mut answers: Vec<Option<Answer>> = requests.iter().map(|_| None).collect();
        let (mut losses, mut pause) = (0, self.dialer.limits.redial_min);
        loop {
            self.ensure().await?;
            match self.exchange(requests, &mut answers).await {
                Ok(()) => {}
                Err(Broken::Failed(failure)) => return Err(failure.into()),
                Err(Broken::Slow) => return Err(self.too_slow().into()),
                Err(Broken::Lost) if losses < LOSSES_MAX => {
                    losses += 1;
                    continue;
                }
                Err(Broken::Lost) => return Err(self.lost_for_good().into()),
            }
            let unavailable = |answer: &Answer| answer.as_ref().err().is_some_and(ErrorBody::is_unavailable);
            let waiting = || answers.iter().flatten().filter(|answer| unavailable(answer));
            let told = waiting().filter_map(|answer| answer.as_ref().err()?.retry_after()).max();
            if waiting().next().is_none() {
                return Ok(answers.into_iter().flatten().collect());
            }
            let Some(wait) = self.granted(told, pause) else {
                return Ok(answers.into_iter().flatten().collect());
            };
            answers
                .iter_mut()
                .filter(|slot| slot.as_ref().is_some_and(unavailable))
                .for_each(|slot| *slot = None);
            self.watch(Instant::now() + wait).await;
            pause = (pause * 2).min(self.dialer.limits.redial_max);
        }
    }

    /// Whether a restart was announced that is not over.
    #[must_use]
    pub fn is_restart_announced(&self) -> bool {
        self.restarts.open_until().is_some()
    }

    /// Waits until every announced restart is over and a call was answered after it; returns the list of agents.
    ///
    /// # Errors
    /// The gateway did not come back.
    pub async fn settle(&mut self) -> Result<Value, Refused> {
        loop {
            let agents = self.call("agents.list", json!({})).await?;
            let Some(until) = self.restarts.open_until() else { return Ok(agents) };
            self.watch(until).await;
        }
    }

    /// Says goodbye, for at most 250 ms.
    pub async fn close(&mut self) {
        if let Some((socket, _)) = self.open.take() {
            close(socket).await;
        }
    }

    /// Another try after the attempt ended, for the clean-up: the deadline is the clean-up's, and one dial is allowed.
    pub fn reopen_for(&mut self, limit: Duration) {
        self.deadline = Deadline::after(limit, Duration::ZERO);
        self.first_dial = None;
        self.was_open = false;
        self.was_found = false;
        self.restarts = Restarts::default();
    }

    fn lost(&mut self) {
        debug!(stage = %self.stage, "the connection was lost");
        self.open = None;
        self.restarts.dropped(Instant::now());
    }

    /// Why the attempt has come to nothing where its time ended: what it waited for, or why there was no connection on which
    /// to wait.
    #[must_use]
    pub fn out_of_time(&self) -> Refused {
        let unreached = self.unreached.clone().filter(|_| self.open.is_none());
        unreached.unwrap_or_else(|| self.too_slow().into())
    }

    /// How long one call may take.
    #[must_use]
    pub fn call_limit(&self) -> Duration {
        self.dialer.limits.call
    }

    /// The failure of a call that takes too long.
    #[must_use]
    pub fn too_slow(&self) -> Failure {
        timed_out(self.stage, self.target.url)
    }

    /// The failure of a call whose connection was lost too often.
    pub(super) fn lost_for_good(&self) -> Failure {
        let detail = format!(
            "The gateway closed the connection at stage {} and could not be reached again in time. Check that it \
             runs: ps aux | grep openclaw, nc -zv {} {}.",
            self.stage,
            self.target.url.host_text(),
            self.target.url.port()
        );
        Failure::new(self.stage, Cause::ConnectionLost, detail)
    }

    /// A wait that the gateway asked for, and at least as long as our own shortest: it may ask for none.
    pub(super) fn pause(&self, told: Duration) -> Duration {
        told.max(self.dialer.limits.redial_min)
    }
}
