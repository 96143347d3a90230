//! One WebSocket connection from challenge to close.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::Fault;
use super::Version;
use super::calls::{Calls, End, Out, answer, event, receive};
use super::fault::CallFault;
use super::handshake::{Admission, Client, Refused};
use super::refusal::Refusal;
use super::server::{Push, Shared, Socket, Upgrade};
use super::state::{merge, now_ms};

/// Before hello, later gateways take no more than this in one frame.
const HANDSHAKE_FRAME_BYTES_MAX: usize = 64 * 1024;
const TICK: Duration = Duration::from_secs(30);

pub(crate) async fn run(shared: Arc<Shared>, mut socket: Socket, upgrade: Upgrade) {
    let end = match handshake(&shared, &mut socket, &upgrade).await {
        Ok(admission) => {
            let calls = Calls { scopes: admission.scopes.clone(), shared: Arc::clone(&shared) };
            let _open = Open::counted(&shared);
            serve(calls, &mut socket, admission).await
        }
        Err(end) => end,
    };
    if let End::Close(code, reason) = end {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        drop(socket.close(Some(frame)).await);
        // Reading on lets the close frame arrive before the reset that unread data causes.
        let drained = async { while let Some(Ok(_)) = socket.next().await {} };
        drop(tokio::time::timeout(Duration::from_secs(1), drained).await);
    }
}

/// Counts a connection from its hello until it has said goodbye or is gone.
struct Open(Arc<Shared>);

impl Open {
    fn counted(shared: &Arc<Shared>) -> Self {
        let mut state = shared.state();
        state.open += 1;
        state.open_most = state.open_most.max(state.open);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

async fn handshake(shared: &Arc<Shared>, socket: &mut Socket, upgrade: &Upgrade) -> Result<Admission, End> {
    if shared.state().faults.has(&Fault::MuteAfterUpgrade) {
        return Err(mute(socket).await);
    }
    if shared.state().faults.has(&Fault::NotJson) {
        send(socket, "<html>not a gateway</html>".to_owned()).await?;
    }
    let fixed = shared.options.challenge.clone();
    let (nonce, ts) =
        fixed.map_or_else(|| (uuid::Uuid::new_v4().to_string(), now_ms()), |fixed| (fixed.nonce, fixed.ts));
    let mut payload = json!({ "nonce": nonce, "ts": ts });
    if shared.options.version == Version::V2026_9_6 {
        merge(&mut payload, &json!({ "capabilities": ["model-catalog-snapshot"] }));
    }
    send(socket, event("connect.challenge", &payload, None)).await?;
    let timeout = shared.options.handshake_timeout;
    let first = tokio::time::timeout(timeout, next_text(socket))
        .await
        .map_err(|_| End::Close(1000, String::new()))??;
    let limited = shared.options.version.has_detail_codes();
    if limited && first.len() > HANDSHAKE_FRAME_BYTES_MAX {
        return Err(End::Close(1009, String::new()));
    }
    let (id, params) = connect_request(socket, &first).await?;
    let now = shared.options.challenge.as_ref().map_or_else(now_ms, |fixed| fixed.ts);
    fault_at_connect(shared, socket, &id).await?;
    let admission = match Client::new(shared, upgrade, &params, (&nonce, now)).judge() {
        Ok(admission) => admission,
        Err(Refused { refusal, close, reason }) => {
            send(socket, answer(&id, &Err(refusal))).await?;
            return Err(End::Close(close, reason));
        }
    };
    let hello = hello(shared, &admission);
    // Counted first: whoever has read hello may look at the count.
    shared.state().connects += 1;
    send(socket, answer(&id, &Ok(hello))).await?;
    Ok(admission)
}

async fn fault_at_connect(shared: &Arc<Shared>, socket: &mut Socket, id: &Value) -> Result<(), End> {
    let struck = {
        let mut state = shared.state();
        let before_hello = state.faults.take(|fault, used| {
            let Fault::CloseBeforeHello { code, times } = fault else { return None };
            (used < *times).then_some(CallFault::Close(*code))
        });
        let token = shared.options.token.clone().unwrap_or_default();
        before_hello.or_else(|| state.faults.at_call("connect", None, &token))
    };
    match struck {
        Some(CallFault::Mute) => Err(mute(socket).await),
        Some(CallFault::Close(code) | CallFault::CloseAfter(code)) => Err(End::Close(code, String::new())),
        Some(CallFault::Drop | CallFault::DropAfter) => Err(End::Drop),
        Some(CallFault::Refuse(refusal)) => {
            let reason = refusal.message.clone();
            send(socket, answer(id, &Err(refusal))).await?;
            Err(End::Close(1008, reason))
        }
        Some(CallFault::Pad(_)) | None => Ok(()),
    }
}

async fn connect_request(socket: &mut Socket, text: &str) -> Result<(Value, Value), End> {
    let frame: Value = serde_json::from_str(text).unwrap_or_default();
    let (Some(id), Some(method)) = (frame.get("id"), frame.get("method").and_then(Value::as_str)) else {
        return Err(End::Close(1008, "invalid request frame".to_owned()));
    };
    if method != "connect" {
        let refusal = Refusal::invalid("invalid handshake: first request must be connect");
        let reason = refusal.message.clone();
        send(socket, answer(id, &Err(refusal))).await?;
        return Err(End::Close(1008, reason));
    }
    Ok((id.clone(), frame.get("params").cloned().unwrap_or_default()))
}

fn hello(shared: &Shared, admission: &Admission) -> Value {
    let version = shared.options.version;
    let reported = shared.options.reported_version.clone().unwrap_or_else(|| version.reported().to_owned());
    let mut hello = version.hello();
    let own = json!({
        "protocol": admission.protocol,
        "server": { "version": reported, "connId": uuid::Uuid::new_v4() },
        "policy": { "maxPayload": version.frame_bytes_max() },
    });
    merge(&mut hello, &own);
    if let Some(shown) = hello.pointer_mut("/snapshot/authMode") {
        *shown = json!(shared.state().config.pointer("/gateway/auth/mode"));
    }
    if let Some(methods) = hello.pointer_mut("/features/methods").and_then(Value::as_array_mut) {
        let state = shared.state();
        methods.retain(|method| {
            !state.faults.has(&Fault::UnknownMethod(method.as_str().unwrap_or_default().to_owned()))
        });
    }
    let members = hello.as_object_mut().expect("hello is a map");
    match &admission.auth {
        Some(auth) => drop(members.insert("auth".to_owned(), auth.clone())),
        None => drop(members.shift_remove("auth")),
    }
    hello
}

async fn serve(calls: Calls, socket: &mut Socket, _admission: Admission) -> End {
    let calls = Arc::new(calls);
    let shared = Arc::clone(&calls.shared);
    let (out, mut outgoing) = mpsc::unbounded_channel();
    let mut pushes = shared.pushes.subscribe();
    let mut tasks = JoinSet::new();
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    let (mut seq, mut has_woken) = (1, false);
    if shared.options.chatty
        && let Err(end) = send(socket, first_health(&shared)).await
    {
        return end;
    }
    loop {
        let next = tokio::select! {
            // What was answered is sent before a restart closes the connection.
            biased;
            Some(message) = outgoing.recv() => match message {
                Out::Frame(frame) => Ok(Some(frame)),
                Out::Woken(frame) => { has_woken = true; Ok(Some(frame)) }
                Out::End(end) => Err(end),
            },
            text = next_text(socket) => match text {
                Ok(text) if text.len() > shared.options.version.frame_bytes_max() => Err(End::Close(1009, String::new())),
                Ok(text) => { receive(&calls, &text, &out, &mut tasks); Ok(None) }
                Err(end) => Err(end),
            },
            push = pushes.recv() => {
                let is_cut = !has_woken && matches!(push, Ok(Push::Restart));
                shared.state().connections_cut += usize::from(is_cut);
                pushed(push, &mut seq)
            }
            _ = tick.tick() => {
                seq += 1;
                Ok(Some(event("tick", &json!({ "ts": now_ms() }), Some(seq))))
            }
            Some(_) = tasks.join_next() => Ok(None),
        };
        match next {
            Ok(None) => {}
            Ok(Some(frame)) => {
                if let Err(end) = send(socket, frame).await {
                    return end;
                }
            }
            Err(end) => return end,
        }
    }
}

/// Real gateways send their health to whoever has just connected.
fn first_health(shared: &Shared) -> String {
    let health = shared.options.version.recorded_read("health").unwrap_or_default();
    json!({ "type": "event", "event": "health", "payload": health, "seq": 1, "stateVersion": { "presence": 1, "health": 1 } }).to_string()
}

fn pushed(push: Result<Push, RecvError>, seq: &mut u64) -> Result<Option<String>, End> {
    match push {
        Ok(Push::Event(name, payload)) => {
            *seq += 1;
            Ok(Some(event(name, &payload, Some(*seq))))
        }
        Ok(Push::Restart) => Err(End::Close(1012, "service restart".to_owned())),
        Err(broadcast::error::RecvError::Lagged(_)) => Ok(None),
        Err(broadcast::error::RecvError::Closed) => Err(End::Drop),
    }
}

async fn mute(socket: &mut Socket) -> End {
    while let Some(Ok(_)) = socket.next().await {}
    End::Drop
}

async fn next_text(socket: &mut Socket) -> Result<String, End> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(End::Drop),
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
        }
    }
}

async fn send(socket: &mut Socket, frame: String) -> Result<(), End> {
    socket.send(Message::text(frame)).await.map_err(|_| End::Drop)
}
