//! The calls of one connection after hello: faults, holds, order of answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::fault::CallFault;
use super::refusal::Refusal;
use super::server::{Push, Shared};
use super::state::merge;
use super::{methods, restart};

/// How a connection ends.
pub(crate) enum End {
    Close(u16, String),
    /// Without a close frame.
    Drop,
}

/// What a call sends.
pub(crate) enum Out {
    Frame(String),
    /// The answer to the message that wakes an agent, with which a creation ends.
    Woken(String),
    End(End),
}

/// The calls of one connection.
pub(crate) struct Calls {
    pub(crate) scopes: Vec<String>,
    pub(crate) shared: Arc<Shared>,
}

/// Acts on the call at once unless it is held; only the answer is delayed.
pub(crate) fn receive(
    calls: &Arc<Calls>,
    text: &str,
    out: &mpsc::UnboundedSender<Out>,
    tasks: &mut JoinSet<()>,
) {
    // Real gateways ignore what is not a request once a client is connected.
    let Ok(frame) = serde_json::from_str::<Value>(text) else { return };
    let (Some(id), Some(method)) = (frame.get("id").cloned(), frame.get("method").and_then(Value::as_str))
    else {
        return;
    };
    let (calls, method, out) = (Arc::clone(calls), method.to_owned(), out.clone());
    let params = frame.get("params").cloned().unwrap_or_else(|| json!({}));
    let number = {
        let mut state = calls.shared.state();
        state.calls.push((method.clone(), params.clone()));
        state.calls.len()
    };
    if let Some(wait) = calls.shared.holds.meet(&method) {
        tasks.spawn(async move {
            wait.over().await;
            let (sent, restarts) = calls.act(&id, &method, &params);
            calls.reply(number, sent, restarts, out).await;
        });
        return;
    }
    let (sent, restarts) = calls.act(&id, &method, &params);
    tasks.spawn(async move { calls.reply(number, sent, restarts, out).await });
}

impl Calls {
    fn act(&self, id: &Value, method: &str, params: &Value) -> (Option<Out>, Vec<restart::Planned>) {
        let fault = {
            let mut state = self.shared.state();
            let agent = params
                .get("agentId")
                .and_then(Value::as_str)
                .filter(|id| state.just_created.remove(*id))
                .map(str::to_owned);
            let token = self.shared.options.token.clone().unwrap_or_default();
            state.faults.at_call(method, agent.as_deref(), &token)
        };
        let close = |code| Some(Out::End(End::Close(code, String::new())));
        match fault {
            Some(CallFault::Mute) => return (None, Vec::new()),
            Some(CallFault::Drop) => return (Some(Out::End(End::Drop)), Vec::new()),
            Some(CallFault::Close(code)) => return (close(code), Vec::new()),
            Some(CallFault::Refuse(refusal)) => {
                return (Some(Out::Frame(answer(id, &Err(refusal)))), Vec::new());
            }
            Some(CallFault::CloseAfter(_) | CallFault::DropAfter | CallFault::Pad(_)) | None => {}
        }
        let outcome = methods::call(&self.shared, &self.scopes, method, params);
        for (name, payload) in outcome.events {
            drop(self.shared.pushes.send(Push::Event(name, payload)));
        }
        let mut result = outcome.result;
        if let (Some(CallFault::Pad(bytes)), Ok(payload)) = (&fault, &mut result) {
            merge(payload, &json!({ "raw": "x".repeat(*bytes) }));
        }
        let frame = answer(id, &result);
        let sent = match fault {
            Some(CallFault::DropAfter) => Some(Out::End(End::Drop)),
            Some(CallFault::CloseAfter(code)) => close(code),
            _ if method == "chat.send" && result.is_ok() => Some(Out::Woken(frame)),
            _ => Some(Out::Frame(frame)),
        };
        (sent, outcome.restarts)
    }

    async fn reply(
        &self,
        number: usize,
        sent: Option<Out>,
        restarts: Vec<restart::Planned>,
        out: mpsc::UnboundedSender<Out>,
    ) {
        let options = &self.shared.options;
        let mut delay = options.min_call_delay;
        if options.shuffle {
            // Every other answer waits for the one behind it.
            delay += Duration::from_millis(if number % 2 == 1 { 4 } else { 0 });
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if options.chatty && number % 3 == 1 {
            let health = options.version.recorded_read("health").unwrap_or_default();
            drop(out.send(Out::Frame(event("health", &health, None))));
            drop(out.send(Out::Frame(event("presence", &json!({ "presence": [] }), None))));
        }
        let Some(sent) = sent else { return std::future::pending().await };
        restart::order(&self.shared, &restarts);
        drop(out.send(sent));
        restart::plan(&self.shared, &restarts);
    }
}

pub(crate) fn answer(id: &Value, result: &Result<Value, Refusal>) -> String {
    match result {
        Ok(payload) => json!({ "type": "res", "id": id, "ok": true, "payload": payload }),
        Err(refusal) => json!({ "type": "res", "id": id, "ok": false, "error": refusal.body() }),
    }
    .to_string()
}

pub(crate) fn event(name: &str, payload: &Value, seq: Option<u64>) -> String {
    let mut frame = json!({ "type": "event", "event": name, "payload": payload });
    if let Some(seq) = seq {
        merge(&mut frame, &json!({ "seq": seq }));
    }
    frame.to_string()
}
