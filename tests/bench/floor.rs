//! What a registration cannot be cheaper than: a bare client that makes the same calls in the same order to the same
//! gateway, and two syncs of a file.

use std::{fs::File, io::Write as _, path::Path, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use futures_util::{SinkExt as _, StreamExt as _};
use harness::fake_gateway::{FakeGateway, Options};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::{
    clock::{Clock as _, SystemClock},
    domain::gateway::patience::Patience,
    ids::{AgentId, GatewayId, OperationId},
    secret::Secret,
};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use worker::gateway::{
    Dialer,
    identity::DeviceIdentity,
    limits::Limits,
    policy::{AddressPolicy, SystemResolver},
    provision::{Order, provision},
};

use crate::numbers::{Times, rounds};

/// Calls in the order in which the service makes them; those of one group are sent before the first is answered.
#[derive(Debug, Clone)]
pub(crate) struct Script(Vec<Vec<(String, Value)>>);

impl Script {
    /// Has the service's own code make them once, and notes them.
    pub(crate) async fn note() -> Self {
        let gateway = FakeGateway::start(Options { chatty: false, ..Options::default() }).await;
        let dialer = Dialer {
            policy: AddressPolicy::default(),
            resolver: Arc::new(SystemResolver),
            identity: DeviceIdentity::from_seed(&[7; 32]),
            limits: Limits::default(),
            progress: worker::gateway::Progress::default(),
            tenure: worker::gateway::tenure::Tenure::unlimited(),
        };
        let at = SystemClock.now();
        let order = Order {
            gateway_id: GatewayId::mint(at),
            operation: OperationId::mint(at),
            name: "Production Gateway".to_owned(),
            url: gateway.url().parse().expect("its own URL"),
            workspace_root: "/home/ubuntu/.openclaw/workspaces".to_owned(),
            device_token: None,
            token: Some(Secret::from("gateway-token")),
            allow_insecure_tls: false,
            disable_device_pairing: false,
            agent_id: AgentId::mint(at),
            agent_token: shared::token::agent(),
            base_url: "http://127.0.0.1:8000".to_owned(),
            heartbeat_every: Some(Duration::from_mins(30)),
            minimum_version: "2026.02.9".parse().expect("a version"),
            templates: Arc::default(),
            patience: Patience::Waiting,
            agent_may_exist: false,
        };
        provision(&dialer, &order).await.expect("the gateway can be provisioned");
        let mut groups: Vec<Vec<(String, Value)>> = vec![];
        for (method, params) in gateway.calls() {
            match groups.last_mut() {
                Some(group) if group.first().is_some_and(|(first, _)| *first == method) => {
                    group.push((method, params));
                }
                Some(_) | None => groups.push(vec![(method, params)]),
            }
        }
        Self(groups)
    }

    /// How many calls it has.
    pub(crate) fn calls(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

/// One client, as often as it can in the time: dial, calls, and two syncs of a file in this folder.
pub(crate) async fn measure(script: &Script, gateway: &str, folder: &Path, time: Duration) -> Times {
    let file = File::create(folder.join("floor")).expect("the folder can be written");
    let key = SigningKey::from_bytes(&[42; 32]);
    let started = std::time::Instant::now();
    let each = rounds(time, |_| async {
        sync(&file);
        call(script, gateway, &key).await;
        sync(&file);
    })
    .await;
    Times::new(each, started.elapsed())
}

fn sync(mut file: &File) {
    file.write_all(&[b'x'; 1_024]).expect("the file can be written");
    file.sync_data().expect("the file can be synced");
}

type Socket = WebSocketStream<TcpStream>;

async fn call(script: &Script, gateway: &str, key: &SigningKey) {
    let tcp = TcpStream::connect(gateway.trim_start_matches("ws://")).await.expect("the gateway is there");
    tcp.set_nodelay(true).expect("a TCP connection");
    let (mut socket, _) = client_async(gateway, tcp).await.expect("it upgrades");
    let challenge = loop {
        let frame = next(&mut socket).await;
        if frame["event"] == "connect.challenge" {
            break frame["payload"].clone();
        }
    };
    send(&mut socket, "hello", "connect", &connect(&challenge, key)).await;
    answers(&mut socket, 1).await;
    let mut hash = Value::Null;
    for group in &script.0 {
        for (index, (method, params)) in group.iter().enumerate() {
            let mut params = params.clone();
            if params.get("baseHash").is_some() {
                params["baseHash"] = hash.clone();
            }
            send(&mut socket, &index.to_string(), method, &params).await;
        }
        if let Some(told) = answers(&mut socket, group.len()).await {
            hash = told;
        }
    }
    socket.close(None).await.expect("it can be closed");
}

async fn send(socket: &mut Socket, id: &str, method: &str, params: &Value) {
    let frame = json!({"type": "req", "id": id, "method": method, "params": params});
    socket.send(Message::text(frame.to_string())).await.expect("it takes a frame");
}

/// Waits for so many answers; the hash of the configuration if one tells it.
async fn answers(socket: &mut Socket, count: usize) -> Option<Value> {
    let mut hash = None;
    let mut left = count;
    while left > 0 {
        let frame = next(socket).await;
        if frame["type"] == "res" {
            left -= 1;
            hash = frame["payload"].get("hash").cloned().or(hash);
        }
    }
    hash
}

async fn next(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.expect("it is open").expect("a frame") {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}

fn connect(challenge: &Value, key: &SigningKey) -> Value {
    let scopes = ["operator.read", "operator.admin"];
    let public = key.verifying_key().to_bytes();
    let device = hex::encode(Sha256::digest(public));
    let (nonce, at) = (challenge["nonce"].as_str().unwrap_or_default(), &challenge["ts"]);
    let claim = format!(
        "v2|{device}|gateway-client|backend|operator|{}|{at}|gateway-token|{nonce}",
        scopes.join(",")
    );
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(claim.as_bytes()).to_bytes());
    json!({
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": scopes,
        "client": {"id": "gateway-client", "version": "1.0.0", "platform": "linux", "mode": "backend"},
        "device": {"id": device, "publicKey": BASE64_URL_SAFE_NO_PAD.encode(public), "signature": signature,
            "signedAt": at, "nonce": nonce},
        "auth": {"token": "gateway-token"},
    })
}
