//! Stands before a gateway, passes every byte, and counts connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::Gateway;

/// A port of its own for one gateway.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    passed: AtomicUsize,
    refused: AtomicUsize,
}

impl Proxy {
    /// Before the gateway, invisible.
    pub async fn before(gateway: &Gateway) -> Self {
        Self::start(gateway, None).await
    }

    /// Before the gateway, and telling it that its clients come from this address: then they count as remote.
    pub async fn forwarding_for(gateway: &Gateway, client: &'static str) -> Self {
        Self::start(gateway, Some(client)).await
    }

    async fn start(gateway: &Gateway, client: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let counts = Arc::<Counts>::default();
        let task = tokio::spawn(serve(listener, gateway.port(), Arc::clone(&counts), client));
        Self { url: format!("{}://127.0.0.1:{port}", gateway.scheme()), counts, task }
    }

    /// Where it listens; `wss` where the gateway serves TLS.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connections that reached the gateway.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.passed.load(Ordering::SeqCst)
    }

    /// Connections that found no gateway; they were reset.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.counts.refused.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, port: u16, counts: Arc<Counts>, client: Option<&'static str>) {
    loop {
        let (inbound, _) = listener.accept().await.expect("a listening socket accepts");
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            if let Ok(outbound) = TcpStream::connect(("127.0.0.1", port)).await {
                counts.passed.fetch_add(1, Ordering::SeqCst);
                // However it ends, both sides are closed.
                let _ = pass(inbound, outbound, client).await;
            } else {
                counts.refused.fetch_add(1, Ordering::SeqCst);
                let _ = inbound.set_zero_linger();
            }
        });
    }
}

async fn pass(
    mut inbound: TcpStream,
    mut outbound: TcpStream,
    client: Option<&'static str>,
) -> std::io::Result<()> {
    inbound.set_nodelay(true)?;
    outbound.set_nodelay(true)?;
    if let Some(client) = client {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(inbound.read_u8().await?);
        }
        head.truncate(head.len() - 2);
        outbound.write_all(&head).await?;
        outbound.write_all(format!("X-Forwarded-For: {client}\r\n\r\n").as_bytes()).await?;
    }
    copy_bidirectional(&mut inbound, &mut outbound).await?;
    Ok(())
}
