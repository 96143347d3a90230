//! What goes over the open connection of a session, and what comes back; nothing here dials.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use shared::{
    domain::gateway::failure::{Cause, Failure},
    failpoint::{When, reach},
};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tracing::warn;

use super::{Answer, Session};
use crate::gateway::{
    connect::Socket,
    deadline::Deadline,
    frame::{self, Incoming},
    handshake::is_violation,
    refusal::Refused,
    tenure::Tenure,
};

/// So far the attempt's end is moved at a time while it is not known whether the job is still ours.
const UNSURE: Duration = Duration::from_millis(100);

/// How long our Close may take.
const CLOSE_LIMIT: Duration = Duration::from_millis(250);

/// A call that was sent and is not answered yet.
#[derive(Debug)]
pub struct Pending {
    method: &'static str,
    id: String,
    /// Which connection it went over: another one never answers it.
    dial: u32,
}

/// What became of a call that was sent.
#[derive(Debug)]
pub enum Progress {
    /// It was answered.
    Answered(Answer),
    /// Its connection was lost: the outcome is unknown.
    Lost,
    /// No answer yet.
    Waiting,
}

pub(super) enum Broken {
    Lost,
    Slow,
    Failed(Failure),
}

impl Session<'_> {
    /// Sends one call and does not wait; it is never repeated.
    ///
    /// # Errors
    ///
    /// No connection.
    pub async fn send(&mut self, method: &'static str, params: Value) -> Result<Pending, Refused> {
        self.ensure().await?;
        self.late = None;
        match self.write(method, &params).await {
            Ok(id) => Ok(Pending { method, id, dial: self.dials }),
            // There is no such connection: the call counts as lost with its own.
            Err(Broken::Lost | Broken::Slow) => Ok(Pending { method, id: String::new(), dial: 0 }),
            Err(Broken::Failed(failure)) => Err(failure.into()),
        }
    }

    /// Waits for the answer to a call that was sent, at most until `until`. Other calls may be made in between.
    ///
    /// # Errors
    ///
    /// The gateway sent what is no frame.
    pub async fn progress(&mut self, pending: &Pending, until: Instant) -> Result<Progress, Refused> {
        loop {
            if let Some((_, answer)) = self.late.take_if(|(id, _)| *id == pending.id) {
                reach(When::After, "call", || pending.method.to_owned());
                return Ok(Progress::Answered(answer));
            }
            if self.open.is_none() || self.dials != pending.dial {
                return Ok(Progress::Lost);
            }
            match self.next_answer(until).await {
                Ok(Some(answer)) => self.late = Some(answer),
                Ok(None) => {}
                Err(Broken::Lost) => return Ok(Progress::Lost),
                Err(Broken::Slow) => return Ok(Progress::Waiting),
                Err(Broken::Failed(failure)) => return Err(failure.into()),
            }
        }
    }

    /// One call whose answer is not needed: `None` where it is refused, takes too long, or costs the connection twice. It
    /// never ends the attempt, nor takes its time.
    ///
    /// # Errors
    ///
    /// No connection.
    pub async fn ask_optional(
        &mut self,
        method: &'static str,
        params: Value,
    ) -> Result<Option<Value>, Refused> {
        let until = Instant::now() + self.dialer.limits.optional;
        let mut was_lost = false;
        loop {
            let pending = self.send(method, params.clone()).await?;
            match self.progress(&pending, until).await {
                Ok(Progress::Answered(Ok(payload))) => return Ok(Some(payload)),
                Ok(Progress::Answered(Err(error))) => {
                    let again = Instant::now() + self.pause(error.retry_after().unwrap_or_default());
                    if !error.is_unavailable() || again >= until {
                        return Ok(None);
                    }
                    self.watch(again).await;
                }
                Ok(Progress::Lost) if !was_lost => was_lost = true,
                // What is no frame ends the connection; the next call makes another.
                Ok(Progress::Lost | Progress::Waiting) | Err(_) => return Ok(None),
            }
        }
    }

    /// Reads what comes until this instant or until the connection is lost.
    pub async fn watch(&mut self, until: Instant) {
        while self.open.is_some() {
            match self.next_answer(until).await {
                Ok(Some(answer)) => self.late = Some(answer),
                Ok(None) => {}
                Err(Broken::Slow) => return,
                Err(Broken::Lost | Broken::Failed(_)) => {
                    self.lost();
                    return;
                }
            }
        }
        sleep(until.saturating_duration_since(Instant::now())).await;
    }

    /// Sends what has no answer yet and reads until all have one.
    pub(super) async fn exchange(
        &mut self,
        requests: &[(&'static str, Value)],
        answers: &mut [Option<Answer>],
    ) -> Result<(), Broken> {
        let mut waiting: Vec<(String, usize)> = Vec::new();
        for (index, (method, params)) in requests.iter().enumerate() {
            if answers.get(index).is_some_and(Option::is_none) {
                waiting.push((self.write(method, params).await?, index));
            }
        }
        let mut limit = Instant::now() + self.dialer.limits.call;
        while !waiting.is_empty() {
            let Some((id, result)) = self.next_answer(limit).await? else { continue };
            let Some(found) = waiting.iter().position(|(wanted, _)| *wanted == id) else {
                self.late = Some((id, result));
                continue;
            };
            let (_, index) = waiting.swap_remove(found);
            if let Some((method, _)) = requests.get(index) {
                reach(When::After, "call", || (*method).to_owned());
            }
            if let Some(slot) = answers.get_mut(index) {
                *slot = Some(result);
            }
            limit = Instant::now() + self.dialer.limits.call;
        }
        Ok(())
    }

    async fn write(&mut self, method: &str, params: &Value) -> Result<String, Broken> {
        let Some((socket, hello)) = &mut self.open else { return Err(Broken::Lost) };
        self.next_id += 1;
        let id = format!("mc-{}", self.next_id);
        let text = frame::request(&id, method, params);
        if text.len() > hello.outgoing_bytes_max {
            let detail = format!(
                "{method} would need {} bytes, more than the gateway takes. Check its version: openclaw --version; newer \
                 ones take more.",
                text.len()
            );
            return Err(Broken::Failed(Failure::new(self.stage, Cause::CallRefused, detail)));
        }
        may_act(&self.dialer.tenure, &self.deadline).await;
        reach(When::Before, "call", || method.to_owned());
        match timeout(self.dialer.limits.call, socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(id),
            Ok(Err(_)) => {
                self.lost();
                Err(Broken::Lost)
            }
            Err(_) => Err(Broken::Slow),
        }
    }

    /// The next frame; `None` for one that answers nothing.
    async fn next_answer(&mut self, limit: Instant) -> Result<Option<(String, Answer)>, Broken> {
        let Some((socket, _)) = &mut self.open else { return Err(Broken::Lost) };
        let left = limit.saturating_duration_since(Instant::now());
        match timeout(left, socket.next()).await {
            Err(_) => Err(Broken::Slow),
            Ok(Some(Ok(Message::Text(text)))) => Ok(self.heard(frame::parse(&text).ok())),
            Ok(Some(Ok(Message::Close(_))) | None) => {
                self.lost();
                Err(Broken::Lost)
            }
            Ok(Some(Err(error))) => {
                self.lost();
                if !is_violation(&error) {
                    return Err(Broken::Lost);
                }
                let detail = "A frame of the gateway is larger than 32 MiB or not valid. Is this an OpenClaw gateway? \
                              Check on the host: openclaw --version, and how large its configuration is.";
                Err(Broken::Failed(Failure::new(self.stage, Cause::ProtocolViolation, detail)))
            }
            Ok(Some(Ok(_))) => Ok(None),
        }
    }

    fn heard(&mut self, incoming: Option<Incoming>) -> Option<(String, Answer)> {
        match incoming? {
            Incoming::Answer { id, result } => {
                self.restarts.answered(Instant::now());
                if let Ok(payload) = &result {
                    self.restarts.answer(payload, Instant::now());
                }
                Some((id, result))
            }
            Incoming::Event { name, .. } => {
                if name == "shutdown" {
                    self.restarts.shutdown(Instant::now());
                }
                None
            }
            Incoming::Unknown => None,
        }
    }
}

/// Waits while the job may be another worker's. That takes none of the attempt's time.
async fn may_act(tenure: &Tenure, deadline: &Deadline) {
    if tenure.holds() {
        return;
    }
    warn!(
        "the lease of this job has run out and was not renewed; waiting for the database before the next call"
    );
    while !tenure.holds() {
        deadline.extend(UNSURE);
        let _ = timeout(UNSURE, tenure.held()).await;
    }
}

pub(super) async fn close(mut socket: Socket) {
    let goodbye = async {
        let _ = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = timeout(CLOSE_LIMIT, goodbye).await;
}
