//! Connections that can be cut from inside a request: closed, or reset, with nothing of an answer sent.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::lock;

const OPEN: u8 = 0;
const CLOSE: u8 = 1;
const RESET: u8 = 2;

/// How a request refers to the connection that it came on.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Arc<Switch>);

#[derive(Debug)]
struct Switch {
    wish: AtomicU8,
    task: AtomicWaker,
    ended: watch::Sender<bool>,
}

impl Connection {
    fn new() -> Self {
        Self(Arc::new(Switch { wish: AtomicU8::new(OPEN), task: AtomicWaker::new(), ended: watch::Sender::new(false) }))
    }

    /// Ends the connection without another byte: an orderly end (FIN).
    pub(crate) fn close(&self) {
        self.end(CLOSE);
    }

    /// Ends the connection with a reset (RST).
    pub(crate) fn reset(&self) {
        self.end(RESET);
    }

    fn end(&self, wish: u8) {
        self.0.wish.store(wish, Ordering::SeqCst);
        self.0.task.wake();
    }

    /// True once the connection is gone, whoever ended it.
    pub(crate) fn has_ended(&self) -> bool {
        *self.0.ended.borrow()
    }

    /// Returns when the connection is gone, whoever ended it.
    pub(crate) async fn ended(&self) {
        // An error would say that the sender is gone; this value holds it.
        let _ = self.0.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

/// The connections that are open, so that an outage can cut them all.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<(u64, HashMap<u64, Connection>)>,
}

impl Connections {
    fn add(&self, connection: &Connection) -> u64 {
        let mut open = lock(&self.open);
        open.0 += 1;
        let key = open.0;
        open.1.insert(key, connection.clone());
        key
    }

    fn remove(&self, key: u64) {
        lock(&self.open).1.remove(&key);
    }

    /// How many connections are open.
    pub(crate) fn count(&self) -> usize {
        lock(&self.open).1.len()
    }

    /// Resets every connection.
    pub(crate) fn reset_all(&self) {
        self.reset_but(None);
    }

    /// Resets every connection but one.
    pub(crate) fn reset_but(&self, spared: Option<&Connection>) {
        for connection in lock(&self.open).1.values() {
            if !spared.is_some_and(|spared| Arc::ptr_eq(&spared.0, &connection.0)) {
                connection.reset();
            }
        }
    }
}

/// Accepts connections and gives each its switch.
pub(crate) struct Acceptor {
    pub(crate) listener: TcpListener,
    pub(crate) connections: Arc<Connections>,
}

impl Listener for Acceptor {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((tcp, address)) => {
                    // Without it an answer waits for the client's delayed acknowledgement; a refusal only costs time.
                    let _ = tcp.set_nodelay(true);
                    let connection = Connection::new();
                    let key = self.connections.add(&connection);
                    return (Stream { tcp, connection, key, connections: Arc::clone(&self.connections) }, address);
                }
                // Out of descriptors, or a client that left already: the next one may fare better.
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A TCP stream that obeys its switch.
pub(crate) struct Stream {
    tcp: TcpStream,
    connection: Connection,
    key: u64,
    connections: Arc<Connections>,
}

impl Connected<IncomingStream<'_, Acceptor>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Acceptor>) -> Self {
        stream.io().connection.clone()
    }
}

impl Stream {
    /// Registers the task that drives this connection, and says whether it may go on.
    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        self.connection.0.task.register(context.waker());
        match self.connection.0.wish.load(Ordering::SeqCst) {
            OPEN => Ok(()),
            _ => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.tcp).poll_read(context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.tcp).poll_write_vectored(context, slices)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.connection.0.wish.load(Ordering::SeqCst) == RESET {
            // Dropping the socket now sends RST; where that is refused, the client sees an orderly end instead.
            let _ = self.tcp.set_zero_linger();
        }
        self.connections.remove(self.key);
        self.connection.0.ended.send_replace(true);
    }
}
