//! A client that costs next to nothing: one connection, one request at a time, JSON of a told length.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

/// Far longer than any answer takes.
const LIMIT: Duration = Duration::from_secs(90);

/// A connection to the server.
#[derive(Debug)]
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    token: String,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// A header line, or nothing.
    pub(crate) header: &'a str,
    pub(crate) body: &'a str,
}

impl Http {
    pub(crate) async fn connect(address: SocketAddr, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(512, stream), token: token.to_owned() })
    }

    /// GET, which must be answered 200.
    pub(crate) async fn get(&mut self, path: &str) -> Vec<u8> {
        let (status, body) = self.ask(Ask { method: "GET", path, header: "", body: "" }).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    /// POST of JSON; status and answer.
    pub(crate) async fn post(&mut self, path: &str, header: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let (status, answer) = self.ask(Ask { method: "POST", path, header, body: &body }).await;
        (status, serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// Status and body of an answer.
    pub(crate) async fn ask(&mut self, ask: Ask<'_>) -> (u16, Vec<u8>) {
        self.send(ask).await.expect("the request is sent");
        timeout(LIMIT, self.answer()).await.expect("an answer in time").expect("an answer")
    }

    /// Sends, and does not wait.
    pub(crate) async fn send(&mut self, ask: Ask<'_>) -> io::Result<()> {
        let Ask { method, path, header, body } = ask;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\n{header}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await
    }

    async fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut length = 0;
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? <= 2 {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((status.ok_or(io::ErrorKind::UnexpectedEof)?, body))
    }
}
