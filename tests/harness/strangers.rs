//! What may listen at a gateway's address and is none: each does one thing wrong, on loopback.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use worker::gateway::policy::{Resolver, Resolving};

/// What it does to whoever connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// The handshake of TCP is never ended: its backlog is full.
    Blackhole,
    /// Accepts, reads, and says nothing.
    Mute,
    /// Reads the first bytes, then says this and nothing more.
    Says(Vec<u8>),
    /// Reads the first bytes, then resets the connection.
    Resets,
    /// Resets whoever does not begin with TLS; answers a TLS hello with an alert.
    ResetsPlain,
    /// Upgrades whatever path is asked for, then says nothing.
    MuteAfterUpgrade,
}

/// A listener that is no gateway; dropping it closes it.
#[derive(Debug)]
pub struct Stranger {
    address: SocketAddr,
    dials: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Stranger {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// If loopback cannot be used.
    pub async fn start(manner: Manner) -> Self {
        let dials = Arc::new(AtomicUsize::new(0));
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback can be bound");
        let backlog = if manner == Manner::Blackhole { 1 } else { 4_096 };
        let listener = socket.listen(backlog).expect("a bound socket can listen");
        let address = listener.local_addr().expect("a bound socket has an address");
        let task = if manner == Manner::Blackhole {
            let filling = fill(address).await;
            tokio::spawn(async move {
                let _open = (listener, filling);
                std::future::pending::<()>().await;
            })
        } else {
            tokio::spawn(serve(listener, manner, Arc::clone(&dials)))
        };
        Self { address, dials, _task: AbortOnDropHandle::new(task) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that it accepted.
    #[must_use]
    pub fn dials(&self) -> usize {
        self.dials.load(Relaxed)
    }
}

/// Fills the backlog until nobody gets in any more.
async fn fill(address: SocketAddr) -> Vec<TcpStream> {
    let mut filling = vec![];
    for _ in 0..64 {
        match timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            Ok(connected) => filling.push(connected.expect("the backlog takes it or does not answer")),
            Err(_) => return filling,
        }
    }
    panic!("the backlog of {address} takes more than it was told to");
}

async fn serve(listener: TcpListener, manner: Manner, dials: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, _)) = accepted else { continue };
                dials.fetch_add(1, Relaxed);
                connections.spawn(meet(tcp, manner.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn meet(mut tcp: TcpStream, manner: Manner) -> io::Result<()> {
    let mut head = [0; 4_096];
    let read = tcp.read(&mut head).await?;
    match manner {
        Manner::Blackhole | Manner::Mute => {}
        Manner::Says(bytes) => tcp.write_all(&bytes).await?,
        Manner::Resets => return tcp.set_zero_linger(),
        Manner::ResetsPlain if head.first() != Some(&0x16) => return tcp.set_zero_linger(),
        // Alert: handshake failure.
        Manner::ResetsPlain => tcp.write_all(&[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28]).await?,
        Manner::MuteAfterUpgrade => tcp.write_all(&upgraded(head.get(..read).unwrap_or_default())).await?,
    }
    while tcp.read(&mut head).await? > 0 {}
    Ok(())
}

fn upgraded(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.trim().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// What a name resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// These addresses; the n-th question gets the n-th list, and the last one all that follow.
    Is(Vec<Vec<SocketAddr>>),
    /// There is no such name.
    Unknown,
    /// The name server does not answer.
    Mute,
}

/// A resolver that knows the names it was told and counts how often it was asked for each.
#[derive(Debug, Default)]
pub struct Names(std::sync::Mutex<std::collections::HashMap<String, (Name, usize)>>);

impl Names {
    fn lock(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, (Name, usize)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes a name known.
    pub fn add(&self, name: &str, is: Name) {
        self.lock().insert(name.to_owned(), (is, 0));
    }

    /// How often it was asked for this name.
    #[must_use]
    pub fn asked(&self, name: &str) -> usize {
        self.lock().get(name).map_or(0, |(_, asked)| *asked)
    }

    /// How often it was asked for any name, known or not.
    #[must_use]
    pub fn asked_in_all(&self) -> usize {
        self.lock().values().map(|(_, asked)| asked).sum()
    }

    /// Knows no name any more.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn ask(&self, name: &str) -> Name {
        let mut names = self.lock();
        let (is, asked) = names.entry(name.to_owned()).or_insert((Name::Unknown, 0));
        *asked += 1;
        match is {
            Name::Is(lists) => {
                let list = lists.get(*asked - 1).or(lists.last()).cloned().unwrap_or_default();
                Name::Is(vec![list])
            }
            Name::Unknown | Name::Mute => is.clone(),
        }
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, host: &'a str, _: u16) -> Resolving<'a> {
        let answer = self.ask(host);
        Box::pin(async move {
            match answer {
                Name::Is(mut lists) => Ok(lists.pop().unwrap_or_default()),
                Name::Unknown => Err(io::Error::from(io::ErrorKind::NotFound)),
                Name::Mute => std::future::pending().await,
            }
        })
    }
}
