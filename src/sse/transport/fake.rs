//! A server that answers as a test tells it to, faults included, over real sockets of the loopback.

use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::sse::client::Settings;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(in crate::sse) struct Request {
    /// Method, path and query.
    pub(in crate::sse) line: String,
    /// The header lines.
    pub(in crate::sse) head: String,
    pub(in crate::sse) body: String,
}

impl Request {
    pub(in crate::sse) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub(in crate::sse) enum Reply {
    /// This answer, and the connection stays.
    Answer(Vec<u8>),
    /// As much of an answer, and then nothing, for longer than anybody waits.
    Hang(Vec<u8>),
    /// As much of an answer, and then the connection's end; a reset, where it is nothing.
    Cut(Vec<u8>),
}

impl Reply {
    pub(in crate::sse) fn new(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
        Self::Answer([head.as_bytes(), body].concat())
    }

    pub(in crate::sse) fn json(status: u16, body: &str) -> Self {
        Self::new(status, "content-type: application/json\r\n", body)
    }
}

/// The server; it ends with the test's runtime.
pub(in crate::sse) struct Fake {
    pub(in crate::sse) settings: Settings,
    pub(in crate::sse) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
}

impl Fake {
    pub(in crate::sse) async fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let connections = Arc::<Mutex<usize>>::default();
        let (log, count, reply) = (Arc::clone(&requests), Arc::clone(&connections), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&reply)));
            }
        });
        let settings =
            Settings { api_url: url.clone(), request_timeout: Duration::from_secs(20), ..Settings::default() };
        Self { settings, url, requests, connections }
    }

    pub(in crate::sse) async fn answering(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    pub(in crate::sse) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(in crate::sse) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// The only request that came.
    pub(in crate::sse) fn only(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap()
    }
}

/// The process's TLS provider, once.
pub(in crate::sse) fn provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

async fn serve<F: Fn(&Request) -> Reply>(mut stream: TcpStream, log: Arc<Mutex<Vec<Request>>>, reply: Arc<F>) {
    while let Some(request) = read(&mut stream).await {
        let next = reply(&request);
        log.lock().unwrap().push(request);
        match next {
            Reply::Answer(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Hang(bytes) => {
                let _ = stream.write_all(&bytes).await;
                std::future::pending::<()>().await;
            }
            Reply::Cut(bytes) if bytes.is_empty() => {
                let _ = stream.set_zero_linger();
                return;
            }
            Reply::Cut(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let (line, head) = text.split_once("\r\n").unwrap();
    let mut request =
        Request { line: line.trim_end_matches(" HTTP/1.1").to_owned(), head: head.to_owned(), body: String::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
