//! `GET /api/v1/namespaces/NAMESPACE/captures/NAME/file`: the file of a capture, for a reader who proves the right to it.
//! `…/captures/NAME/similar/FILE` is the file of a similar capture of this node, for which that Capture stands.
//!
//! The proof is a CaptureRead ([`kubernetes::capture_read`]), so the API server decides who reads what. This listens on
//! a loopback address alone; readers come through a port-forward to the agent's pod. Whoever may do that reaches the
//! files of everybody's captures, so nothing that comes is trusted, and everything is limited: connections, questions
//! to the API server, files at once, and the time for each.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{self, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use capture_format::chain;
use futures::stream;
use kubernetes::{
    capture_read::Proof,
    reading::{Allowed, CaptureId, Reading, Refused},
};
use spool::{Download, Entry, Store};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    server::{self, Keep, Limits},
    token,
};
use crate::{metrics::Metrics, node::stands_for};

/// How many files are served at a time.
const FILES: usize = 4;
/// How many readers are being checked at a time.
const CHECKS: usize = 4;
/// A check counts as one of these for at least this long, however soon the API server answers. So all readers of this
/// agent together cause at most 16 checks a second.
const CHECK_PACE: Duration = Duration::from_millis(250);
/// How long a reader waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// How much of a file is read at a time.
const CHUNK: u64 = 64 * 1024;
const LIMITS: Limits = Limits {
    connections: 64,
    head: Duration::from_secs(5),
    idle: Duration::from_secs(20),
    connection: Duration::from_secs(300),
};

/// Serves the files of this node's captures.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    reading: Arc<Reading>,
    /// The spool's directory.
    spool: PathBuf,
    store: Option<Arc<Store>>,
    metrics: Arc<Metrics>,
    checks: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Files {
    pub(crate) fn new(
        reading: Reading,
        spool: PathBuf,
        store: Option<Arc<Store>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            reading: Arc::new(reading),
            spool,
            store,
            metrics,
            checks: Arc::new(Semaphore::new(CHECKS)),
            turns: Arc::new(Semaphore::new(FILES)),
        }
    }

    /// Serves until the future is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let capture = "/api/v1/namespaces/{namespace}/captures/{name}";
        let app = Router::new()
            .route(&format!("{capture}/file"), get(file))
            .route(&format!("{capture}/similar/{{file}}"), get(similar))
            .fallback(async || {
                let said =
                    "no such path; there is GET /api/v1/namespaces/NAMESPACE/captures/NAME/file\n";
                (StatusCode::NOT_FOUND, said)
            })
            .with_state(self);
        server::serve(listener, None, app, LIMITS).await;
    }

    /// Begins to deliver the file of a Capture, or the file `of` for which the Capture stands.
    async fn open(
        &self,
        namespace: String,
        name: String,
        of: Option<String>,
        headers: &HeaderMap,
        keep: &Keep,
    ) -> Result<Delivery, Refusal> {
        let proof = token::bearer(headers).and_then(Proof::parse);
        let proof = proof.ok_or(Refusal::NoProof)?;
        let capture = CaptureId::new(namespace, name).ok_or(Refused::NoCapture)?;
        let allowed = self.check(&capture, &proof).await?;
        let turn = timeout(TURN, self.turns.clone().acquire_owned());
        let turn = turn.await.ok().and_then(Result::ok).ok_or(Refusal::Busy)?;
        // At most as many connections as there are turns.
        keep.keep();
        let (source, bytes) = match of {
            Some(file) => self.similar(&capture, file).await?,
            None => self.source(&allowed).await?,
        };
        Ok(Delivery {
            source: Some(source),
            bytes,
            sent: 0,
            capture,
            proof,
            metrics: self.metrics.clone(),
            _turn: turn,
        })
    }

    fn answer(&self, opened: Result<Delivery, Refusal>) -> Response {
        match opened {
            Ok(delivery) => delivery.into_response(),
            Err(refusal) => {
                let (_, result) = refusal.kind();
                self.metrics.file(result);
                tracing::info!(result, "a file was refused: {}", chain(&refusal));
                refusal.into_response()
            }
        }
    }

    async fn check(&self, capture: &CaptureId, proof: &Proof) -> Result<Allowed, Refusal> {
        let turn = timeout(TURN, self.checks.clone().acquire_owned());
        let turn = turn.await.ok().and_then(Result::ok).ok_or(Refusal::Busy)?;
        let (reading, capture, proof) = (self.reading.clone(), capture.clone(), proof.clone());
        let (answer, checked) = oneshot::channel();
        // A task of its own, so that a reader who goes away does not make room for the next one sooner.
        tokio::spawn(async move {
            let pace = sleep(CHECK_PACE);
            // The reader may be gone.
            let _ = answer.send(reading.check(&capture, &proof).await);
            pace.await;
            drop(turn);
        });
        Ok(checked.await.map_err(|_| Refusal::Busy)??)
    }

    /// A file of the spool for which this Capture stands; and its size.
    async fn similar(&self, capture: &CaptureId, file: String) -> Result<(Source, u64), Refusal> {
        let file = CaptureId::new(capture.namespace().to_owned(), file).ok_or(Refusal::NotHere)?;
        let id = spool::id(file.namespace(), file.name());
        let (directory, name) = (self.spool.clone(), capture.name().to_owned());
        let found = blocking(move || {
            let entry = spool::read(&directory, &id)?;
            // Whoever may read a Capture may read what it stands for, and nothing else.
            match entry.is_similar() && stands_for(&name, &entry) {
                true => open_file(&spool::path(&directory, &id)),
                false => Err(io::ErrorKind::NotFound.into()),
            }
        })
        .await;
        let (file, bytes) = found.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Refusal::NotHere,
            _ => Refusal::Unreadable(format!("the spool: {error}")),
        })?;
        Ok((Source::File(file), bytes))
    }

    /// The file in the spool, else the object in the store; and its size.
    async fn source(&self, allowed: &Allowed) -> Result<(Source, u64), Refusal> {
        let id = spool::id(allowed.file.namespace(), allowed.file.name());
        let path = spool::path(&self.spool, &id);
        let here = blocking(move || open_file(&path)).await;
        let trouble = match here {
            Ok((file, bytes)) => return Ok((Source::File(file), bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("the spool: {error}")),
        };
        match &self.store {
            Some(store) if allowed.uploaded => {
                let entry = Entry {
                    id,
                    ..Entry::default()
                };
                let download = store.get(&entry.key(), allowed.sha256.as_deref()).await;
                let download = download.map_err(|error| Refusal::Unreadable(error.to_string()))?;
                let bytes = download.bytes();
                Ok((Source::Object(Box::new(download)), bytes))
            }
            _ => Err(trouble.map_or(Refusal::NotHere, Refusal::Unreadable)),
        }
    }
}

async fn file(
    State(files): State<Files>,
    extract::Path((namespace, name)): extract::Path<(String, String)>,
    Extension(keep): Extension<Keep>,
    headers: HeaderMap,
) -> Response {
    let opened = files.open(namespace, name, None, &headers, &keep).await;
    files.answer(opened)
}

async fn similar(
    State(files): State<Files>,
    extract::Path((namespace, name, file)): extract::Path<(String, String, String)>,
    Extension(keep): Extension<Keep>,
    headers: HeaderMap,
) -> Response {
    let opened = files
        .open(namespace, name, Some(file), &headers, &keep)
        .await;
    files.answer(opened)
}

fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

enum Source {
    File(File),
    Object(Box<Download>),
}

/// A file on its way. It counts as one of [`FILES`] until it is dropped.
struct Delivery {
    /// `None` at the end.
    source: Option<Source>,
    bytes: u64,
    sent: u64,
    capture: CaptureId,
    proof: Proof,
    metrics: Arc<Metrics>,
    _turn: OwnedSemaphorePermit,
}

impl Delivery {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_LENGTH, HeaderValue::from(self.bytes)),
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            ),
        ];
        let body = Body::from_stream(stream::try_unfold(self, Self::next));
        (headers, body).into_response()
    }

    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let left = self.bytes - self.sent;
        let chunk = match self.source.take() {
            None => return Ok(None),
            Some(Source::File(file)) => {
                let (file, chunk) = blocking(move || {
                    let mut chunk = Vec::new();
                    (&file).take(CHUNK.min(left)).read_to_end(&mut chunk)?;
                    Ok((file, chunk))
                })
                .await?;
                self.source = Some(Source::File(file));
                Bytes::from(chunk)
            }
            Some(Source::Object(mut download)) => {
                let chunk = download.next().await.map_err(io::Error::other)?;
                self.source = Some(Source::Object(download));
                chunk.unwrap_or_default()
            }
        };
        if chunk.is_empty() {
            return Ok(None);
        }
        self.sent += chunk.len() as u64;
        Ok(Some((chunk, self)))
    }
}

impl Drop for Delivery {
    /// The log says which CaptureRead was used. The API server's audit log says who made it.
    fn drop(&mut self) {
        let whole = self.sent == self.bytes;
        let result = if whole { "served" } else { "cut_off" };
        self.metrics.file(result);
        tracing::info!(
            result,
            capture = %self.capture,
            capture_read = self.proof.name(),
            bytes = self.sent,
            "a file was read"
        );
    }
}

/// Why there is no file, and what to do next.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "a header `Authorization: Bearer NAME.SECRET` is needed, with the name of a CaptureRead and its secret: use `kubectl lastword`"
    )]
    NoProof,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("too many files are being read from this agent; try again")]
    Busy,
    #[error(
        "this agent does not have the file: ask the agent of the node that the Capture's status names"
    )]
    NotHere,
    #[error("this agent cannot read the file; try again: {0}")]
    Unreadable(String),
}

impl Refusal {
    /// The status code, and a word for the metric.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoProof => (StatusCode::UNAUTHORIZED, "no_proof"),
            Self::Refused(Refused::Unknown) => (StatusCode::UNAUTHORIZED, "unknown_proof"),
            Self::Refused(Refused::Unfit(_)) => (StatusCode::FORBIDDEN, "unfit_proof"),
            Self::Refused(Refused::NoCapture) => (StatusCode::NOT_FOUND, "no_capture"),
            Self::NotHere => (StatusCode::NOT_FOUND, "no_file"),
            Self::Refused(Refused::NotComplete(_)) => (StatusCode::CONFLICT, "not_complete"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Refused(Refused::Unanswered(_) | Refused::NoTime) | Self::Unreadable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, _) = self.kind();
        let mut response = (code, format!("{}\n", chain(&self))).into_response();
        let more = match code {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "2")),
            _ => None,
        };
        if let Some((name, value)) = more {
            let headers = response.headers_mut();
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests;
