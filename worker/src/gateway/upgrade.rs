//! The HTTP upgrade, by hand: the answer's head is bounded, no redirect is followed, and TLS bytes are recognised.

use std::io;

use shared::domain::gateway::{
    failure::{Cause, Failure, Stage},
    url::GatewayUrl,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{connect::reachable, limits::INCOMING_BYTES_MAX, tls::is_tls_record};

const HEAD_BYTES_MAX: usize = 16 << 10;
/// What is read at once.
const READ_BUFFER: usize = 16 << 10;

const NO_HTTP: &str = "What answers there does not speak HTTP. Is this an OpenClaw gateway? Check the port in `url`, and \
    on the host: openclaw --version.";

/// Why there is no WebSocket.
#[derive(Debug)]
pub enum NotUpgraded {
    /// Reset before a byte of an answer: it may be a TLS port.
    Reset,
    /// Closed before a byte of an answer: real gateways do that on a TLS port.
    Closed,
    /// Anything else.
    Failed(Failure),
}

/// Asks for the upgrade and checks the answer. `origin` is sent in `control_ui` mode only.
///
/// # Errors
/// [`NotUpgraded`]; time is the caller's business.
pub async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    url: &GatewayUrl,
    origin: Option<&str>,
) -> Result<WebSocketStream<S>, NotUpgraded> {
    let key = generate_key();
    let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n{origin}\r\n",
        url.path_and_query(),
        url.authority(),
    );
    let lost = |error: io::Error| lost(&error, url);
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let (head, rest) = read_head(&mut stream, url).await?;
    check_head(&head, &derive_accept_key(key.as_bytes()), url)
        .map_err(|failure| NotUpgraded::Failed(*failure))?;
    let config = WebSocketConfig::default()
        // Each read clears all of it first, and most frames are small.
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(INCOMING_BYTES_MAX))
        .max_frame_size(Some(INCOMING_BYTES_MAX));
    Ok(WebSocketStream::from_partially_read(stream, rest, Role::Client, Some(config)).await)
}

async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    url: &GatewayUrl,
) -> Result<(String, Vec<u8>), NotUpgraded> {
    let mut bytes = Vec::new();
    let mut chunk = [0_u8; 2048];
    loop {
        let count = stream.read(&mut chunk).await.map_err(|error| lost(&error, url))?;
        if count == 0 && bytes.is_empty() {
            return Err(NotUpgraded::Closed);
        }
        if count == 0 {
            return Err(NotUpgraded::Failed(closed(url)));
        }
        bytes.extend(chunk.iter().take(count));
        if is_tls_record(&bytes) {
            return Err(NotUpgraded::Failed(tls_port()));
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        // What is no HTTP is told at once and not at the time-out.
        let is_http = b"HTTP/1.".iter().zip(&bytes).all(|(want, got)| want == got);
        if !is_http || bytes.len() > HEAD_BYTES_MAX {
            return Err(NotUpgraded::Failed(rejected(NO_HTTP)));
        }
    }
}

/// The failure for a connection that ended without an answer to the upgrade.
#[must_use]
pub fn closed(url: &GatewayUrl) -> Failure {
    let detail =
        format!("The gateway closed the connection without an answer to the upgrade. {}", reachable(url));
    Failure::new(Stage::Handshake, Cause::ClosedBeforeHello, detail)
}

fn lost(error: &io::Error, url: &GatewayUrl) -> NotUpgraded {
    let kind = error.kind();
    if matches!(
        kind,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted
    ) {
        return NotUpgraded::Reset;
    }
    let detail = format!("The connection was lost at the upgrade. {}", reachable(url));
    NotUpgraded::Failed(Failure::new(Stage::Tcp, Cause::ConnectionRefused, detail))
}

/// The failure for `ws://` to a TLS port.
#[must_use]
pub fn tls_port() -> Failure {
    let detail = "The gateway speaks TLS on this port: use wss:// in `url` (and `allow_insecure_tls` if its \
                  certificate is self-signed).";
    Failure::new(Stage::Tls, Cause::TlsFailed, detail)
}

fn rejected(detail: impl Into<String>) -> Failure {
    Failure::new(Stage::Upgrade, Cause::UpgradeRejected, detail)
}

fn check_head(head: &str, accept: &str, url: &GatewayUrl) -> Result<(), Box<Failure>> {
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse::<u16>().ok());
    let header = |name: &str| {
        head.split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    Err(Box::new(match status {
        Some(101) => match header("sec-websocket-accept") {
            Some((_, value)) if value.trim() == accept => return Ok(()),
            _ => rejected(
                "The answer to the WebSocket upgrade is not valid (Sec-WebSocket-Accept). Is this an OpenClaw gateway? \
                 Check it on the host: openclaw --version.",
            ),
        },
        Some(code @ (502..=504)) => Failure::new(
            Stage::Upgrade,
            Cause::UpgradeUnavailable,
            format!(
                "The gateway answered HTTP {code}: it is starting, restarting or overloaded. Try again shortly, or \
                 check it: ps aux | grep openclaw."
            ),
        ),
        Some(code @ (401 | 403)) => Failure::new(
            Stage::Upgrade,
            Cause::UpgradeForbidden,
            format!(
                "The gateway, or a proxy before it, answered HTTP {code} to the upgrade. Check its access rules and, \
                 behind a proxy, gateway.trustedProxies."
            ),
        ),
        Some(code) => rejected(format!(
            "Answered HTTP {code} instead of a WebSocket upgrade. Is {}:{} an OpenClaw gateway? Check it on the host: \
             openclaw --version. Redirects are not followed.",
            url.host_text(),
            url.port(),
        )),
        None => rejected(NO_HTTP),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_http_answer_has_its_cause() {
        let url: GatewayUrl = "ws://host:1".parse().unwrap();
        let cause = |head: &str| check_head(head, "abc", &url).err().map(|failure| failure.cause);
        assert_eq!(cause("HTTP/1.1 101 x\r\nSEC-WebSocket-Accept: abc\r\n\r\n"), None);
        assert_eq!(cause("HTTP/1.1 101 x\r\n\r\n"), Some(Cause::UpgradeRejected));
        for code in [502, 503, 504] {
            assert_eq!(cause(&format!("HTTP/1.1 {code} x\r\n\r\n")), Some(Cause::UpgradeUnavailable));
        }
        for code in [401, 403] {
            assert_eq!(cause(&format!("HTTP/1.1 {code} x\r\n\r\n")), Some(Cause::UpgradeForbidden));
        }
        for code in ["200", "301", "404", "500", "x", ""] {
            assert_eq!(cause(&format!("HTTP/1.1 {code} x\r\n\r\n")), Some(Cause::UpgradeRejected));
        }
    }
}
