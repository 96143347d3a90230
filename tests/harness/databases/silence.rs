//! Stands between a store and its server, and can fall silent: it takes every byte, passes none, and hangs up on nobody.

use std::sync::Arc;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

/// What ends a transaction, as it stands in the protocol's message.
const COMMIT: &[u8] = b"commit\0";

/// What is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// Everything up to the next end of a transaction, then nothing: the server never hears of it.
    UpToCommit,
    /// Everything up to the answer to the next end of a transaction, then nothing: it is stored, and nobody is told.
    UpToItsAnswer,
}

/// A way to a server. Dropping it ends every connection.
#[derive(Debug)]
pub struct Way {
    port: u16,
    passes: Arc<watch::Sender<Passes>>,
    /// Counted up to end every connection there is.
    round: Arc<watch::Sender<u32>>,
    _task: AbortOnDropHandle<()>,
}

impl Way {
    /// To this port of loopback, on a port of its own.
    ///
    /// # Panics
    ///
    /// If loopback cannot be used.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let passes = Arc::new(watch::Sender::new(Passes::All));
        let round = Arc::new(watch::Sender::new(0));
        let task = tokio::spawn(serve(listener, server, (Arc::clone(&passes), Arc::clone(&round))));
        Self { port, passes, round, _task: AbortOnDropHandle::new(task) }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what is passed, also on the connections there are. Once silent, those stay silent until [`Self::mend`].
    pub fn pass(&self, what: Passes) {
        self.passes.send_replace(what);
    }

    /// Passes everything again, on new connections; those there were are ended.
    pub fn mend(&self) {
        self.passes.send_replace(Passes::All);
        self.round.send_modify(|round| *round += 1);
    }

    /// Waits until it has fallen silent.
    pub async fn is_silent(&self) {
        let mut passes = self.passes.subscribe();
        drop(passes.wait_for(|passes| *passes == Passes::Nothing).await);
    }
}

type Switches = (Arc<watch::Sender<Passes>>, Arc<watch::Sender<u32>>);

async fn serve(listener: TcpListener, server: u16, (passes, round): Switches) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let (passes, mut rounds) = (Arc::clone(&passes), round.subscribe());
        let began = *rounds.borrow_and_update();
        tokio::spawn(async move {
            tokio::select! {
                () = pass(client, server, &passes) => {}
                _ = rounds.wait_for(|round| *round != began) => {}
            }
        });
    }
}

async fn pass(client: TcpStream, server: u16, passes: &watch::Sender<Passes>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = asks(from_client, to_server, passes) => {}
        () = answers(from_server, to_client, passes) => {}
    }
}

async fn asks(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passes: &watch::Sender<Passes>,
) {
    let mut bytes = [0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let said = bytes.get(..read).unwrap_or_default();
        let ends = said.windows(COMMIT.len()).any(|window| window == COMMIT);
        // Silent before it is passed on, so that the answer cannot slip through.
        let is_passed = match (*passes.borrow(), ends) {
            (Passes::All | Passes::UpToItsAnswer, _) | (Passes::UpToCommit, false) => true,
            (Passes::Nothing, _) | (Passes::UpToCommit, true) => false,
        };
        if ends {
            passes.send_if_modified(|passes| {
                let falls = matches!(passes, Passes::UpToCommit | Passes::UpToItsAnswer);
                *passes = if falls { Passes::Nothing } else { *passes };
                falls
            });
        }
        if is_passed && to.write_all(said).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passes: &watch::Sender<Passes>,
) {
    let mut bytes = [0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let is_passed = *passes.borrow() != Passes::Nothing;
        if is_passed && to.write_all(bytes.get(..read).unwrap_or_default()).await.is_err() {
            return;
        }
    }
    // The server hung up; whoever is not to be told anything is not told that either.
    if *passes.borrow() == Passes::Nothing {
        std::future::pending::<()>().await;
    }
}
