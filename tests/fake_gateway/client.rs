//! A WebSocket client that sends what it is told and notes what comes.
#![expect(clippy::expect_used, reason = "a broken test client must stop the test")]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use harness::fake_gateway::FakeGateway;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PATIENCE: Duration = Duration::from_secs(10);

/// What arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Frame(Value),
    /// Close code and reason.
    Closed(u16, String),
    /// Gone without a close frame.
    Dropped,
}

pub(crate) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

pub(crate) type Dialled = Result<Client, tokio_tungstenite::tungstenite::Error>;

pub(crate) async fn dial(gateway: &FakeGateway, headers: &[(&'static str, String)]) -> Dialled {
    let mut request = gateway.url().into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value)?);
    }
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let dialled = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
    let (socket, _) = tokio::time::timeout(PATIENCE, dialled).await.expect("a dial ends")?;
    Ok(Client(socket))
}

impl Client {
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.expect("the socket takes a frame");
    }

    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("something arrives in time") {
                Some(Ok(Message::Text(text))) => {
                    return Seen::Frame(serde_json::from_str(&text).unwrap_or(Value::Null));
                }
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame
                        .map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    return Seen::Closed(code, reason);
                }
                Some(Err(_)) | None => return Seen::Dropped,
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
        }
    }

    /// The next frame that is not an event, or how it ended.
    pub(crate) async fn answer(&mut self) -> Seen {
        loop {
            let seen = self.next().await;
            if !matches!(&seen, Seen::Frame(frame) if frame.get("type") == Some(&json!("event"))) {
                return seen;
            }
        }
    }

    /// Sends one call and waits for its answer.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Seen {
        self.send(&json!({ "type": "req", "id": method, "method": method, "params": params })).await;
        self.answer().await
    }

    /// The payload of a call that must succeed.
    pub(crate) async fn ok(&mut self, method: &str, params: Value) -> Value {
        let seen = self.call(method, params).await;
        let Seen::Frame(frame) = &seen else { unreachable!("{method} got {seen:?}") };
        assert_eq!(frame.get("ok"), Some(&json!(true)), "{method}: {frame}");
        frame.get("payload").cloned().unwrap_or_default()
    }

    /// The error of a call that must fail.
    pub(crate) async fn error(&mut self, method: &str, params: Value) -> Value {
        let seen = self.call(method, params).await;
        let Seen::Frame(frame) = &seen else { unreachable!("{method} got {seen:?}") };
        assert_eq!(frame.get("ok"), Some(&json!(false)), "{method}: {frame}");
        frame.get("error").cloned().unwrap_or_default()
    }
}

/// `connect` without a device.
pub(crate) fn connect_request(token: &str) -> Value {
    json!({ "type": "req", "id": "c1", "method": "connect", "params": {
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": ["operator.read", "operator.admin"],
        "client": { "id": "gateway-client", "version": "1.0.0", "platform": "linux", "mode": "backend" },
        "auth": { "token": token },
    } })
}

/// Dials and says hello without a device.
pub(crate) async fn connected(gateway: &FakeGateway) -> Client {
    let mut client = loop {
        // 503 while it restarts.
        if let Ok(client) = dial(gateway, &[]).await {
            break client;
        }
        tokio::task::yield_now().await;
    };
    client.send(&connect_request("gateway-token")).await;
    let seen = client.answer().await;
    assert!(matches!(&seen, Seen::Frame(frame) if frame.get("ok") == Some(&json!(true))), "{seen:?}");
    client
}
