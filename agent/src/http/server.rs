//! Connections of the HTTP endpoint, and their limits.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{patient::Patient, tls::Certificate};

/// Bytes for a request's head and for what is read ahead of its body.
const BUFFER_BYTES: usize = 16 * 1024;
/// Pause after an accept failed, for example because file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many more bytes a client may send after it was answered.
const LINGER_BYTES: u64 = 16 << 20;
const LINGER: Duration = Duration::from_secs(2);

/// Limits for a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at once, except those that are kept ([`Keep`]). One more ends the oldest, so that many silent
    /// connections cannot keep others out.
    pub(super) connections: usize,
    /// Time until the head of the request has arrived.
    pub(super) head: Duration,
    /// Time until the client takes some more of the answer.
    pub(super) idle: Duration,
    /// Time until the client has taken the answer.
    pub(super) connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head: Duration::from_secs(5),
            idle: Duration::from_secs(20),
            connection: Duration::from_secs(40),
        }
    }
}

/// Every request has one as an extension. It keeps the request's connection from being ended for newer ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Keep(Arc<AtomicBool>);

impl Keep {
    pub(super) fn keep(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_kept(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves until the future is dropped; by TLS if there is a certificate. Then all connections end.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Certificate>>,
    app: Router,
    limits: Limits,
) {
    let mut tasks = JoinSet::new();
    let mut oldest_first: VecDeque<(AbortHandle, Keep)> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept an HTTP connection: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        oldest_first.retain(|(task, keep)| !task.is_finished() && !keep.is_kept());
        if oldest_first.len() >= limits.connections
            && let Some((oldest, _)) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        let keep = Keep::default();
        let (tls, app) = (tls.clone(), app.clone());
        let task = tasks.spawn(connection(stream, tls, app, limits, keep.clone()));
        oldest_first.push_back((task, keep));
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Arc<Certificate>>,
    app: Router,
    limits: Limits,
    keep: Keep,
) {
    let serving = async {
        match tls {
            None => whole(stream, app, limits, keep).await,
            Some(tls) => {
                let stream = timeout(limits.head, tls.accept(stream)).await??;
                whole(stream, app, limits, keep).await
            }
        }
    };
    match timeout(limits.connection, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("an HTTP connection failed: {error}"),
        Err(_) => tracing::debug!("an HTTP connection took too long"),
    }
}

/// A connection that carries bytes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

async fn whole(stream: impl Stream, app: Router, limits: Limits, keep: Keep) -> anyhow::Result<()> {
    let stream = answered(stream, app, limits, keep).await?;
    Ok(linger(stream).await?)
}

/// Answers one request; returns the connection, which is still open.
async fn answered<S: Stream>(
    stream: S,
    app: Router,
    limits: Limits,
    keep: Keep,
) -> anyhow::Result<S> {
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: axum::http::Request<Incoming>| {
        request.extensions_mut().insert(keep.clone());
        app.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.idle)), service);
    let parts = serving.without_shutdown().await?;
    Ok(parts.io.into_inner().into_inner())
}

/// Ends a connection whose client may still be sending. Closing it with unread bytes would reset it, and the client
/// would lose the answer (RFC 9112 section 9.6).
async fn linger(mut stream: impl Stream) -> std::io::Result<()> {
    stream.shutdown().await?;
    let rest = async {
        let mut rest = (&mut stream).take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    match timeout(LINGER, rest).await {
        Ok(read) => read.map(drop),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Extension, body::Body, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::Semaphore,
        task::JoinHandle,
    };

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    async fn server(limits: Limits) -> (std::net::SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/", get(async || "hello"))
            .route("/never", get(std::future::pending::<&str>))
            .route("/kept", get(kept))
            .route("/endless", get(endless));
        (address, tokio::spawn(serve(listener, None, app, limits)))
    }

    /// Answers, on a connection that is kept, once the test says so.
    async fn kept(Extension(keep): Extension<Keep>) -> &'static str {
        keep.keep();
        KEPT.add_permits(1);
        let _ = GO_ON.acquire().await;
        "kept"
    }

    static KEPT: Semaphore = Semaphore::const_new(0);
    static GO_ON: Semaphore = Semaphore::const_new(0);

    /// Says when an answer without end is over.
    struct Over;

    static OVER: Semaphore = Semaphore::const_new(0);

    impl Drop for Over {
        fn drop(&mut self) {
            OVER.add_permits(1);
        }
    }

    async fn endless() -> Body {
        let chunk = async |over| Some((Ok::<_, std::io::Error>(vec![0; 1 << 20]), over));
        Body::from_stream(futures::stream::unfold(Over, chunk))
    }

    #[tokio::test]
    async fn a_connection_that_is_kept_outlives_newer_ones() {
        let limits = Limits {
            connections: 2,
            head: HOUR,
            ..Limits::default()
        };
        let (address, _server) = server(limits).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let request = b"GET /kept HTTP/1.1\r\nHost: x\r\n\r\n";
        first.write_all(request).await.unwrap();
        drop(KEPT.acquire().await);
        let mut silent = Vec::new();
        for _ in 0..9 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(get_root(address).await.ends_with("hello"));
        GO_ON.add_permits(1);
        let answer = rest(&mut first).await;
        assert!(answer.ends_with("kept"), "{answer:?}");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let limits = Limits {
            idle: Duration::from_millis(50),
            connection: HOUR,
            ..Limits::default()
        };
        let (address, _server) = server(limits).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let over = timeout(Duration::from_secs(20), OVER.acquire());
        drop(over.await.expect("it goes on"));
    }

    async fn get_root(address: std::net::SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn silent_connections_keep_nobody_out() {
        let limits = Limits {
            connections: 4,
            head: HOUR,
            idle: HOUR,
            connection: HOUR,
        };
        let (address, _server) = server(limits).await;
        let mut silent = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
            silent.push(stream);
        }
        assert!(get_root(address).await.ends_with("hello"));
        assert_eq!(rest(&mut silent[0]).await, "");
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_cut_off() {
        let limits = Limits {
            head: Duration::from_millis(20),
            connection: HOUR,
            ..Limits::default()
        };
        let (address, _server) = server(limits).await;
        for start in [&b""[..], b"GET / HTTP/1.1\r\nX: "] {
            let answer = until_the_end(address, start).await;
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
                "{answer}"
            );
        }
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_cut_off() {
        let limits = Limits {
            head: HOUR,
            connection: Duration::from_millis(20),
            ..Limits::default()
        };
        let (address, _server) = server(limits).await;
        let request = b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(until_the_end(address, request).await, "");
    }

    /// Sends `start` and waits; returns what arrives until the connection ends.
    async fn until_the_end(address: std::net::SocketAddr, start: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(start).await.unwrap();
        rest(&mut stream).await
    }

    /// What arrives until the connection ends, with or without a reset.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let ending = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
        let _ = ending.await.expect("the connection lives on");
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_connection_ends_after_its_request() {
        let (address, _server) = server(Limits::default()).await;
        let answer = get_root(address).await;
        assert!(answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test]
    async fn a_huge_head_is_refused() {
        let (address, _server) = server(Limits::default()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(BUFFER_BYTES));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
    }
}
