//! Many calls over one connection, which is dialled again when it is lost (DESIGN.md §6).
//!
//! No task runs beside the caller: dropping a future of this file drops its socket and nothing else.

mod dial;

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use shared::{
    domain::gateway::{
        failure::{Cause, Failure, Stage},
        patience::Patience,
        url::GatewayUrl,
    },
    secret::{Secret, sanitize},
};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tracing::debug;

use super::{
    Dialer,
    connect::{Socket, timed_out},
    frame::{self, ErrorBody, Incoming},
    handshake::{Field, Hello, Mode, is_violation},
    refusal::{self, Refused},
    restart::Restarts,
    tls::Certificate,
};

/// How often one call is repeated because its connection was lost.
const LOSSES_MAX: u32 = 8;
/// How long our Close may take.
const CLOSE_LIMIT: Duration = Duration::from_millis(250);

/// An answer, or why the gateway refused.
pub type Answer = Result<Value, ErrorBody>;

/// What came of a call that was made once.
#[derive(Debug)]
pub enum Once {
    /// It was answered.
    Answered(Answer),
    /// The connection was lost: nobody knows whether it was done.
    Lost,
    /// No answer yet: nobody knows whether it is done.
    Slow,
}

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
pub struct Session<'a> {
    dialer: &'a Dialer,
    target: Target<'a>,
    /// The stage that a failure is told with.
    pub stage: Stage,
    field: Field,
    open: Option<(Socket, Hello)>,
    was_open: bool,
    dials: u32,
    first_dial: Option<Instant>,
    deadline: Instant,
    restarts: Restarts,
    next_id: u64,
    is_rejected: bool,
    is_device_token_refused: bool,
    issued: Option<Secret>,
}

enum Broken {
    Lost,
    Slow,
    Failed(Failure),
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
            dials: 0,
            first_dial: None,
            deadline: Instant::now() + dialer.limits.attempt,
            restarts: Restarts::default(),
            next_id: 0,
            is_rejected: false,
            is_device_token_refused: false,
            issued: None,
        }
    }

    /// The token that the gateway issued to our device over this session, if it did.
    #[must_use]
    pub fn issued_token(&self) -> Option<&Secret> {
        self.issued.as_ref()
    }

    /// When the attempt ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
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
            match self.exchange(requests, &mut answers, self.dialer.limits.call).await {
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
            if waiting().next().is_none() || !self.may_wait(told, pause) {
                return Ok(answers.into_iter().flatten().collect());
            }
            answers
                .iter_mut()
                .filter(|slot| slot.as_ref().is_some_and(unavailable))
                .for_each(|slot| *slot = None);
            self.watch(Instant::now() + told.map_or(pause, |told| self.pause(told))).await;
            pause = (pause * 2).min(self.dialer.limits.redial_max);
        }
    }

    /// One call that is not repeated when its answer is lost or does not come within `limit`.
    ///
    /// # Errors
    /// No connection.
    pub async fn ask_once(
        &mut self,
        method: &'static str,
        params: Value,
        limit: Duration,
    ) -> Result<Once, Refused> {
        self.ensure().await?;
        let mut answers = [None];
        match self.exchange(&[(method, params)], &mut answers, limit).await {
            Ok(()) => Ok(answers.into_iter().flatten().next().map_or(Once::Lost, Once::Answered)),
            Err(Broken::Lost) => Ok(Once::Lost),
            Err(Broken::Slow) => Ok(Once::Slow),
            Err(Broken::Failed(failure)) => Err(failure.into()),
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

    /// Reads what comes until this instant or until the connection is lost.
    pub async fn watch(&mut self, until: Instant) {
        while let Some((socket, _)) = &mut self.open {
            let left = until.saturating_duration_since(Instant::now());
            match timeout(left, socket.next()).await {
                Err(_) => return,
                Ok(Some(Ok(Message::Text(text)))) => self.note(frame::parse(&text).ok()),
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => {
                    self.lost();
                    return;
                }
                Ok(Some(Ok(_))) => {}
            }
        }
        sleep(until.saturating_duration_since(Instant::now())).await;
    }

    /// Says goodbye, for at most 250 ms.
    pub async fn close(&mut self) {
        if let Some((socket, _)) = self.open.take() {
            close(socket).await;
        }
    }

    /// Another try after the attempt ended, for the clean-up: the deadline is the clean-up's, and one dial is allowed.
    pub fn reopen_for(&mut self, limit: Duration) {
        self.deadline = Instant::now() + limit;
        self.first_dial = None;
        self.was_open = false;
        self.restarts = Restarts::default();
    }

    fn note(&mut self, incoming: Option<Incoming>) {
        match incoming {
            Some(Incoming::Event { name, .. }) if name == "shutdown" => {
                self.restarts.shutdown(Instant::now());
            }
            // An answer that was not waited for any more can still announce a restart.
            Some(Incoming::Answer { result: Ok(payload), .. }) => {
                self.restarts.answer(&payload, Instant::now());
            }
            Some(Incoming::Event { .. } | Incoming::Answer { .. } | Incoming::Unknown) | None => {}
        }
    }

    fn lost(&mut self) {
        debug!(stage = %self.stage, "the connection was lost");
        self.open = None;
        self.restarts.dropped(Instant::now());
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

    /// Whether a call can be repeated after this pause and still be answered before the attempt ends.
    /// Sends what has no answer yet and reads until all have one.
    async fn exchange(
        &mut self,
        requests: &[(&'static str, Value)],
        answers: &mut [Option<Answer>],
        patience: Duration,
    ) -> Result<(), Broken> {
        let Some((socket, hello)) = &mut self.open else { return Err(Broken::Lost) };
        let mut waiting: Vec<(String, usize)> = Vec::new();
        for (index, (method, params)) in requests.iter().enumerate() {
            if answers.get(index).is_none_or(Option::is_some) {
                continue;
            }
            self.next_id += 1;
            let id = format!("mc-{}", self.next_id);
            let text = frame::request(&id, method, params);
            if text.len() > hello.outgoing_bytes_max {
                let detail =
                    format!("{method} would need {} bytes, more than the gateway takes.", text.len());
                return Err(Broken::Failed(Failure::new(self.stage, Cause::CallRefused, detail)));
            }
            waiting.push((id, index));
            let sent = timeout(patience, socket.send(Message::text(text))).await;
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    self.lost();
                    return Err(Broken::Lost);
                }
                Err(_) => return Err(Broken::Slow),
            }
        }
        let mut limit = Instant::now() + patience;
        while !waiting.is_empty() {
            let Some((id, result)) = self.next_answer(limit).await? else { continue };
            let Some(found) = waiting.iter().position(|(wanted, _)| *wanted == id) else { continue };
            let (_, index) = waiting.swap_remove(found);
            if let Some(slot) = answers.get_mut(index) {
                *slot = Some(result);
            }
            limit = Instant::now() + patience;
        }
        Ok(())
    }

    async fn next_answer(&mut self, limit: Instant) -> Result<Option<(String, Answer)>, Broken> {
        let Some((socket, _)) = &mut self.open else { return Err(Broken::Lost) };
        let left = limit.saturating_duration_since(Instant::now());
        match timeout(left, socket.next()).await {
            Err(_) => Err(Broken::Slow),
            Ok(Some(Ok(Message::Text(text)))) => match frame::parse(&text) {
                Ok(Incoming::Answer { id, result }) => {
                    self.restarts.answered(Instant::now());
                    if let Ok(payload) = &result {
                        self.restarts.answer(payload, Instant::now());
                    }
                    Ok(Some((id, result)))
                }
                other => {
                    self.note(other.ok());
                    Ok(None)
                }
            },
            Ok(Some(Ok(Message::Close(_))) | None) => {
                self.lost();
                Err(Broken::Lost)
            }
            Ok(Some(Err(error))) => {
                self.lost();
                if !is_violation(&error) {
                    return Err(Broken::Lost);
                }
                let detail = "A frame of the gateway is larger than 32 MiB or not valid.";
                Err(Broken::Failed(Failure::new(self.stage, Cause::ProtocolViolation, detail)))
            }
            Ok(Some(Ok(_))) => Ok(None),
        }
    }
}

async fn close(mut socket: Socket) {
    let goodbye = async {
        let _ = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = timeout(CLOSE_LIMIT, goodbye).await;
}
