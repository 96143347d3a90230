//! From a URL to a WebSocket: policy, dns, tcp, tls, upgrade; each with its own time-out.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use shared::domain::gateway::{
    failure::{Cause, Failure, Stage},
    url::GatewayUrl,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tracing::{Instrument, debug_span};
use url::Host;

use super::{
    Dialer,
    policy::Why,
    tls::{self, Certificate},
    upgrade::{NotUpgraded, closed, tls_port, upgrade},
};

/// An upgraded connection.
pub type Socket = WebSocketStream<Stream>;

/// Plain or TLS.
#[derive(Debug)]
pub enum Stream {
    /// `ws://`.
    Plain(TcpStream),
    /// `wss://`.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Dials once.
///
/// # Errors
/// The stage that failed and why; never retried here.
pub async fn connect(
    dialer: &Dialer,
    url: &GatewayUrl,
    certificate: Certificate,
    origin: Option<&str>,
) -> Result<Socket, Failure> {
    dial(dialer, url, certificate, origin)
        .instrument(debug_span!("ws.dial", gateway.host = %url.host_text()))
        .await
}

async fn dial(
    dialer: &Dialer,
    url: &GatewayUrl,
    certificate: Certificate,
    origin: Option<&str>,
) -> Result<Socket, Failure> {
    let addresses = resolve(dialer, url).await?;
    let connecting = Instant::now();
    let (tcp, address) = connect_any(dialer, url, &addresses).await?;
    dialer.progress.passed(Stage::Tcp, connecting);
    let securing = Instant::now();
    let stream = if url.is_tls() {
        let tls = timeout(dialer.limits.tls, tls::open(tcp, &url.host_text(), certificate)).await;
        let tls = tls.map_err(|_| timed_out(Stage::Tls, url))?;
        let tls = tls.map_err(|error| tls_failed(&error))?;
        dialer.progress.passed(Stage::Tls, securing);
        Stream::Tls(Box::new(tls))
    } else {
        Stream::Plain(tcp)
    };
    let upgrading = Instant::now();
    match timeout(dialer.limits.upgrade, upgrade(stream, url, origin)).await {
        Err(_) => Err(timed_out(Stage::Upgrade, url)),
        Ok(Ok(socket)) => {
            dialer.progress.passed(Stage::Upgrade, upgrading);
            Ok(socket)
        }
        Ok(Err(NotUpgraded::Failed(failure))) => Err(failure),
        Ok(Err(NotUpgraded::Reset | NotUpgraded::Closed)) if is_tls_port(dialer, url, address).await => {
            Err(tls_port())
        }
        Ok(Err(NotUpgraded::Reset)) => Err(reset(url)),
        Ok(Err(NotUpgraded::Closed)) => Err(closed(url)),
    }
}

async fn resolve(dialer: &Dialer, url: &GatewayUrl) -> Result<Vec<SocketAddr>, Failure> {
    let forbidden = |why: Why| {
        let detail = format!(
            "The address policy forbids {}: {why}. Put the gateway's own address into `url`, or ask whoever runs Mission \
             Control whether it may be dialled (ALLOW_ADDRESSES, DENY_ADDRESSES, ALLOW_PRIVATE_ADDRESSES).",
            url.host_text()
        );
        Failure::new(Stage::Policy, Cause::AddressForbidden, detail)
    };
    dialer.policy.check_host(&url.host()).map_err(forbidden)?;
    let resolving = Instant::now();
    let addresses = match url.host() {
        Host::Ipv4(ip) => vec![SocketAddr::from((ip, url.port()))],
        Host::Ipv6(ip) => vec![SocketAddr::from((ip, url.port()))],
        Host::Domain(name) => timeout(dialer.limits.dns, dialer.resolver.resolve(name, url.port()))
            .await
            .map_err(|_| timed_out(Stage::Dns, url))?
            .unwrap_or_default(),
    };
    if addresses.is_empty() {
        let detail = format!("The host {} is unknown. Check the host name in `url`.", url.host_text());
        return Err(Failure::new(Stage::Dns, Cause::HostUnknown, detail));
    }
    dialer.progress.passed(Stage::Dns, resolving);
    let checking = Instant::now();
    addresses.iter().try_for_each(|address| dialer.policy.check(*address)).map_err(forbidden)?;
    dialer.progress.passed(Stage::Policy, checking);
    Ok(addresses)
}

/// Tries the addresses in turn; each has its share of what is left of the time.
async fn connect_any(
    dialer: &Dialer,
    url: &GatewayUrl,
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), Failure> {
    let started = tokio::time::Instant::now();
    let mut refused = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = dialer.limits.connect.saturating_sub(started.elapsed());
        let shares = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        match timeout(left / shares, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                let _ = tcp.set_nodelay(true);
                return Ok((tcp, *address));
            }
            Ok(Err(error)) => refused = Some(error),
            Err(_) => {}
        }
    }
    let Some(error) = refused else { return Err(timed_out(Stage::Tcp, url)) };
    if error.kind() == io::ErrorKind::TimedOut {
        return Err(timed_out(Stage::Tcp, url));
    }
    let what = format!("The gateway is unreachable: {}. ", error.kind());
    Err(Failure::new(Stage::Tcp, Cause::ConnectionRefused, what + &reachable(url)))
}

/// What to check when nothing answers.
pub(super) fn reachable(url: &GatewayUrl) -> String {
    format!(
        "Check the URL, that the gateway runs (ps aux | grep openclaw), and the network (nc -zv {} {}).",
        url.host_text(),
        url.port()
    )
}

/// The failure of a step that took too long.
#[must_use]
pub fn timed_out(stage: Stage, url: &GatewayUrl) -> Failure {
    let detail = format!("The gateway did not answer in time (stage {stage}). {}", reachable(url));
    Failure::new(stage, Cause::TimedOut, detail)
}

fn tls_failed(error: &io::Error) -> Failure {
    let text: String = error.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
    let detail = format!(
        "TLS failed: {text}. For a self-signed certificate set `allow_insecure_tls`; if the gateway has no TLS, use \
         ws:// in `url`."
    );
    Failure::new(Stage::Tls, Cause::TlsFailed, detail)
}

/// Where a plain upgrade got no answer, one TLS hello to the same address tells whether it is a TLS port.
async fn is_tls_port(dialer: &Dialer, url: &GatewayUrl, address: SocketAddr) -> bool {
    if url.is_tls() {
        return false;
    }
    match timeout(dialer.limits.connect, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tls::speaks_tls(tcp, dialer.limits.tls).await,
        Ok(Err(_)) | Err(_) => false,
    }
}

fn reset(url: &GatewayUrl) -> Failure {
    let detail = format!("The connection was reset at the upgrade. {}", reachable(url));
    Failure::new(Stage::Tcp, Cause::ConnectionRefused, detail)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, into),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
