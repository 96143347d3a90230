//! The listening socket, TLS and the HTTP upgrade.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::fault::{Fault, Faults};
use super::hold::Holds;
use super::state::State;
use super::{Options, Version, connection};
use crate::authority::Certificate;

/// What happens to a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// It is upgraded.
    Open,
    /// It gets 503, as while a real one restarts.
    Unavailable,
    /// The port is closed.
    Refusing,
}

/// Sent to every connection.
#[derive(Debug, Clone)]
pub(crate) enum Push {
    Event(&'static str, Value),
    Restart,
}

/// What all tasks of one gateway share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) port: u16,
    pub(crate) door: watch::Sender<Door>,
    pub(crate) pushes: broadcast::Sender<Push>,
    pub(crate) holds: Holds,
    /// Restarts that answered calls brought about and that are not over.
    pub(crate) ordered: watch::Sender<usize>,
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(options: Options, port: u16) -> Self {
        let mut state = State::new(&options, port);
        state.faults = Faults::new(options.faults.clone());
        Self {
            options,
            port,
            door: watch::Sender::new(Door::Open),
            pushes: broadcast::Sender::new(256),
            holds: Holds::default(),
            ordered: watch::Sender::new(0),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type Socket = WebSocketStream<Box<dyn Stream>>;

/// What the upgrade request said about the client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upgrade {
    pub(crate) origin: Option<String>,
    pub(crate) host: String,
    pub(crate) forwarded: bool,
}

/// Accepts until its task is aborted; its connections end with it.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let tls =
        shared.options.tls.then(|| acceptor(shared.options.certificate.clone().unwrap_or_else(self_signed)));
    let mut door = shared.door.subscribe();
    // It may have been closed before this task ran for the first time.
    door.mark_changed();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = door.changed() => {
                if *door.borrow_and_update() == Door::Refusing {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(TcpListener::bind((shared.options.address, shared.port)).await.expect("its port is still free"));
                }
            }
            dialled = accept(listener.as_ref()) => {
                shared.state().dials += 1;
                let shared = if shared.options.forgets {
                    Arc::new(Shared::new(shared.options.clone(), shared.port))
                } else {
                    Arc::clone(&shared)
                };
                connections.spawn(serve_one(shared, tls.clone(), dialled));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
}

#[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
async fn serve_one(shared: Arc<Shared>, tls: Option<TlsAcceptor>, tcp: TcpStream) {
    if shared.state().faults.take(drop_at_accept).is_some() || tcp.set_nodelay(true).is_err() {
        return;
    }
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(tcp),
        Some(tls) => match tls.accept(tcp).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    let mut upgrade = Upgrade::default();
    // The limit is checked frame by frame with the right close code; this one only bounds memory.
    let config = WebSocketConfig::default().max_message_size(Some(64 << 20)).max_frame_size(Some(64 << 20));
    let accepted = tokio_tungstenite::accept_hdr_async_with_config(
        stream,
        |request: &Request, response: Response| match refuse_upgrade(&shared, request, &mut upgrade) {
            Some(refused) => Err(refused),
            None => Ok(response),
        },
        Some(config),
    )
    .await;
    if let Ok(socket) = accepted {
        Box::pin(connection::run(shared, socket, upgrade)).await;
    }
}

fn drop_at_accept(fault: &Fault, used: usize) -> Option<()> {
    matches!(fault, Fault::DropAtAccept { times } if used < *times).then_some(())
}

fn refuse_upgrade(shared: &Shared, request: &Request, upgrade: &mut Upgrade) -> Option<ErrorResponse> {
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    *upgrade = Upgrade {
        origin: header("origin"),
        host: header("host").unwrap_or_default(),
        forwarded: header("x-forwarded-for").is_some(),
    };
    let path = request.uri().path().to_owned();
    shared.state().upgrades.push((path, std::time::Instant::now()));
    if *shared.door.borrow() == Door::Unavailable {
        shared.state().upgrades_refused += 1;
        return Some(status(503, "Service Unavailable"));
    }
    let untrusted = upgrade.forwarded && !shared.options.trusted_proxy;
    if untrusted && shared.options.version == Version::V2026_9_6 {
        return Some(status(403, "Forbidden"));
    }
    shared.state().faults.take(at_upgrade)
}

fn at_upgrade(fault: &Fault, used: usize) -> Option<ErrorResponse> {
    if let Fault::HttpAtUpgrade { status: code, times } = fault {
        return (used < *times).then(|| status(*code, "refused"));
    }
    let Fault::RedirectAtUpgrade(location) = fault else { return None };
    let mut response = status(302, "");
    response.headers_mut().insert("location", HeaderValue::from_str(location).ok()?);
    Some(response)
}

fn status(code: u16, body: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(body.to_owned()));
    *response.status_mut() = code.try_into().expect("a fault has a valid HTTP status");
    response.headers_mut().insert("content-length", HeaderValue::from(body.len()));
    response.headers_mut().insert("connection", HeaderValue::from_static("close"));
    response
}

/// Self-signed, common name only and no alternative name, as the real ones make it.
fn self_signed() -> Certificate {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names, no bad name");
    params.distinguished_name.push(rcgen::DnType::CommonName, "openclaw-gateway");
    let certificate = params.self_signed(&key).expect("a certificate can be signed");
    Certificate { der: certificate.der().clone(), key: key.serialize_der() }
}

fn acceptor(certificate: Certificate) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(certificate.key).expect("a key in PKCS #8");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der], key)
        .expect("the key belongs to the certificate");
    TlsAcceptor::from(Arc::new(config))
}
