//! A second, plain client of the gateway protocol: it says what it is told and knows nothing of the worker.

use std::{
    fmt, io,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message},
};

use super::{Auth, Options, tls};

const DIAL_LIMIT: Duration = Duration::from_secs(20);
const ANSWER_LIMIT: Duration = Duration::from_mins(1);
const BUSY_LIMIT: Duration = Duration::from_secs(15);
const SCOPES: [&str; 4] = ["operator.read", "operator.admin", "operator.approvals", "operator.pairing"];

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection that said hello as an operator with all rights.
pub struct Client {
    socket: WebSocketStream<Box<dyn Stream>>,
    requests: u64,
    hello: Value,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Refused {
    /// Nobody there, or gone again.
    Gone(String),
    /// The gateway's own error.
    Said(Value),
}

impl Refused {
    /// Whether another try would be told the same.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Gone(_) => false,
            Self::Said(error) => error.get("retryable") != Some(&json!(true)),
        }
    }
}

impl Refused {
    fn is_passing(&self) -> bool {
        let Self::Said(error) = self else { return false };
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        error.get("code") == Some(&json!("UNAVAILABLE")) || message.ends_with("not found")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(why) => write!(f, "gone: {why}"),
            Self::Said(error) => write!(f, "refused: {error}"),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Gone(error.to_string())
    }
}

impl From<tungstenite::Error> for Refused {
    fn from(error: tungstenite::Error) -> Self {
        Self::Gone(error.to_string())
    }
}

impl Client {
    /// Connects once to the gateway on this port.
    ///
    /// # Errors
    ///
    /// Nobody there, or a refusal.
    pub async fn connect(port: u16, options: &Options) -> Result<Self, Refused> {
        let late = |_| Refused::Gone("no answer in time".to_owned());
        timeout(DIAL_LIMIT, Self::dial(port, options)).await.map_err(late)?
    }

    async fn dial(port: u16, options: &Options) -> Result<Self, Refused> {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let stream: Box<dyn Stream> =
            if options.tls { Box::new(tls::open(tcp).await?) } else { Box::new(tcp) };
        let (socket, _) = client_async(format!("ws://127.0.0.1:{port}"), stream).await?;
        let mut client = Self { socket, requests: 0, hello: Value::Null };
        let challenge = loop {
            let frame = client.next().await?;
            if frame.get("event") == Some(&json!("connect.challenge")) {
                break frame.get("payload").cloned().unwrap_or_default();
            }
        };
        client.hello = client.request("connect", connect_params(&challenge, options)).await?;
        Ok(client)
    }

    /// What the gateway said of itself.
    #[must_use]
    pub fn hello(&self) -> &Value {
        &self.hello
    }

    /// The payload of a call that must succeed. It is repeated while the gateway is busy with a change: then it does not
    /// know an agent that it has just created, or cannot read for a moment.
    ///
    /// # Panics
    ///
    /// When it is refused, or not answered.
    pub async fn ok(&mut self, method: &str, params: Value) -> Value {
        self.patient(method, params).await.unwrap_or_else(|refused| panic!("{method}: {refused}"))
    }

    pub(super) async fn patient(&mut self, method: &str, params: Value) -> Result<Value, Refused> {
        let until = Instant::now() + BUSY_LIMIT;
        loop {
            match self.request(method, params.clone()).await {
                Err(refused) if refused.is_passing() && Instant::now() < until => {}
                answer => return answer,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One call.
    ///
    /// # Errors
    ///
    /// A refusal, or the connection is gone.
    ///
    /// # Panics
    ///
    /// When nothing comes for a minute.
    pub async fn request(&mut self, method: &str, params: Value) -> Result<Value, Refused> {
        self.requests += 1;
        let id = format!("harness-{}", self.requests);
        let frame = json!({"type": "req", "id": id, "method": method, "params": params});
        self.socket.send(Message::text(frame.to_string())).await?;
        let answer = async {
            loop {
                let mut frame = self.next().await?;
                if frame.get("id") == Some(&json!(id)) {
                    let mut take = |name: &str| frame.get_mut(name).map(Value::take).unwrap_or_default();
                    let is_ok = take("ok") == json!(true);
                    return if is_ok { Ok(take("payload")) } else { Err(Refused::Said(take("error"))) };
                }
            }
        };
        timeout(ANSWER_LIMIT, answer).await.expect("the gateway answers within a minute")
    }

    async fn next(&mut self) -> Result<Value, Refused> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(|_| Refused::Gone("not JSON".to_owned()));
                }
                Some(Ok(Message::Close(close))) => return Err(Refused::Gone(format!("closed: {close:?}"))),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Refused::Gone("closed".to_owned())),
            }
        }
    }
}

/// As a device of the harness, with the claim signed in form v2.
fn connect_params(challenge: &Value, Options { auth, secret, .. }: &Options) -> Value {
    let key = SigningKey::from_bytes(&[42; 32]);
    let public = key.verifying_key().to_bytes();
    let device = hex::encode(Sha256::digest(public));
    let nonce = challenge.get("nonce").and_then(Value::as_str).unwrap_or_default();
    let at = challenge.get("ts").cloned().unwrap_or_default();
    let token = if *auth == Auth::Token { secret } else { "" };
    let scopes = SCOPES.join(",");
    let claim = format!("v2|{device}|gateway-client|backend|operator|{scopes}|{at}|{token}|{nonce}");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(claim.as_bytes()).to_bytes());
    let public = BASE64_URL_SAFE_NO_PAD.encode(public);
    let credential = match auth {
        Auth::Token => json!({"token": secret}),
        Auth::Password => json!({"password": secret}),
        Auth::None => json!({}),
    };
    json!({
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": SCOPES,
        "client": {"id": "gateway-client", "version": "1.0.0", "platform": "linux", "mode": "backend"},
        "device": {"id": device, "publicKey": public, "signature": signature, "signedAt": at, "nonce": nonce},
        "auth": credential,
    })
}
