//! The HTTP server of `--http-addr`: `/livez`, `/readyz` and `/metrics`.
//!
//! It has a thread and a runtime of its own, so that it can say of the other one that it stands still, and answers at once
//! however much there is to do. It is the first to start and the last to stop.
//!
//! # Guarantees
//! - Bounded: so many connections at a time, each for so long. Nobody can use up the process's file descriptors here.
//! - Reads nothing but the request's head, and tells nothing of resources, tenants or credentials by name.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Sleep, sleep, timeout};

use crate::health::Health;
use crate::metrics::{Format, Metrics};

/// Connections at a time; the next one waits for one of them to end.
const MOST_CONNECTIONS: usize = 64;
/// How long a connection lives at most.
const LIFE: Duration = Duration::from_mins(1);
/// How long requests that are under way may take when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// `--http-addr`: where to listen, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HttpAddr {
    Off,
    Listen(SocketAddr),
}

impl FromStr for HttpAddr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            text => text
                .parse()
                .map(Self::Listen)
                .map_err(|_| "write an address and a port, like 0.0.0.0:8080 or [::]:8080, or off"),
        }
    }
}

impl fmt::Display for HttpAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Listen(address) => write!(f, "{address}"),
        }
    }
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Start {
    /// The address is in use, or is none of this machine's, or its port takes a right.
    #[error("--http-addr {address} cannot be listened on: use another address or port, or off")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("the thread of the HTTP server cannot be started")]
    Thread(#[source] io::Error),
}

/// The running server.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Admin {
    /// Starts to listen; from then on probes are answered.
    ///
    /// # Errors
    /// [`Start`].
    pub fn start(address: SocketAddr, health: Health, metrics: Metrics) -> Result<Self, Start> {
        let listen = |source| Start::Listen { address, source };
        let listener = StdListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Start::Thread)?;
        let (stop, asked_to_stop) = oneshot::channel();
        let (tell_stopped, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(serve(listener, router(health, metrics), asked_to_stop));
            // Nobody may wait for it any more.
            let _ = tell_stopped.send(());
        };
        std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map_err(Start::Thread)?;
        tracing::info!(address = %bound, "listening for probes and scrapes");
        Ok(Self { address: bound, stop, stopped })
    }

    /// Where it listens; with port 0, the one that it was given.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: answers what was asked already, and nothing more.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = timeout(STOP_WITHIN * 2, self.stopped).await;
    }
}

async fn serve(listener: StdListener, router: Router, asked_to_stop: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no probes and scrapes are answered"),
    };
    let (stopping, stop) = oneshot::channel::<()>();
    let served = axum::serve(Bounded { listener, room: Arc::new(Semaphore::new(MOST_CONNECTIONS)) }, router)
        .with_graceful_shutdown(async move {
            let _ = stop.await;
        });
    let mut served = std::pin::pin!(served.into_future());
    tokio::select! {
        _ = &mut served => {}
        _ = asked_to_stop => {
            let _ = stopping.send(());
            let _ = timeout(STOP_WITHIN, served).await;
        }
    }
}

fn router(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(health)
        .merge(Router::new().route("/metrics", get(scrape)).with_state(metrics))
}

async fn livez(State(health): State<Health>) -> Response {
    verdict(health.live().map(|()| "ok"))
}

async fn readyz(State(health): State<Health>) -> Response {
    verdict(health.ready())
}

async fn scrape(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let format = Format::accepted(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
    ([(header::CONTENT_TYPE, format.content_type())], metrics.render(format)).into_response()
}

fn verdict(verdict: Result<&'static str, String>) -> Response {
    match verdict {
        Ok(word) => format!("{word}\n").into_response(),
        Err(sentence) => (StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n")).into_response(),
    }
}

/// A listener with room for so many connections.
struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                // The semaphore is never closed.
                std::future::pending::<()>().await;
                continue;
            };
            // Errors of the system are waited out in there.
            let (stream, address) = Listener::accept(&mut self.listener).await;
            return (Connection { stream, end: Box::pin(sleep(LIFE)), _permit: permit }, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends after its time.
struct Connection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.end.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.ended(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.ended(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::sync::mpsc;
    use std::time::Instant;

    use futures::StreamExt as _;

    use super::*;
    use crate::health::Part;

    /// What a probe is answered.
    fn probe(admin: &Admin, path: &str) -> String {
        let mut stream = TcpStream::connect(admin.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn wait(what: &str, condition: impl Fn() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < Duration::from_mins(1), "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The probe is answered by a thread of its own, so it is answered when no other thread goes on.
    #[test]
    fn a_runtime_that_stands_still_is_dead_until_it_goes_on() {
        let health = Health::beating(Duration::from_millis(10), Duration::from_secs(1));
        let admin = Admin::start(SocketAddr::from(([127, 0, 0, 1], 0)), health.clone(), Metrics::new()).unwrap();
        let (block, blocked) = mpsc::channel::<()>();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let runtime = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut pulse = std::pin::pin!(health.pulse(Part::Runtime));
                loop {
                    pulse.next().await;
                    match blocked.try_recv() {
                        // As a lock does that is never released.
                        Ok(()) => goes_on.recv().unwrap(),
                        Err(mpsc::TryRecvError::Empty) => {}
                        Err(mpsc::TryRecvError::Disconnected) => break,
                    }
                }
            });
        });
        assert!(probe(&admin, "/livez").starts_with("HTTP/1.1 200 "));
        block.send(()).unwrap();
        wait("that it is dead", || {
            let answer = probe(&admin, "/livez");
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\n\r\nthe runtime stands still for ")
        });
        go_on.send(()).unwrap();
        wait("that it lives again", || probe(&admin, "/livez").ends_with("\r\n\r\nok\n"));
        drop(block);
        runtime.join().unwrap();
    }

    #[test]
    fn an_address_or_off_is_meant_by_http_addr() {
        assert_eq!("off".parse(), Ok(HttpAddr::Off));
        for address in ["0.0.0.0:8080", "[::]:8080", "127.0.0.1:0"] {
            assert_eq!(address.parse::<HttpAddr>().map(|address| address.to_string()), Ok(address.to_owned()));
        }
        for wrong in ["", "8080", ":8080", "localhost:8080", "Off"] {
            assert!(wrong.parse::<HttpAddr>().unwrap_err().contains("or off"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_by_the_flag() {
        let taken = StdListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Admin::start(address, Health::new(), Metrics::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("--http-addr {address} cannot be listened on: use another address or port, or off")
        );
        assert!(std::error::Error::source(&error).is_some());
    }
}
