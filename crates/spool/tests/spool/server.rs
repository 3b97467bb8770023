//! A real S3 server (s3s-fs) inside this process, which tests can stop, start and make misbehave.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use spool::{Store, StoreConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) const BUCKET: &str = "evidence";
const KEY: &str = "lastword-key";
const SECRET: &str = "lastword-secret";

pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    tls: Option<TlsAcceptor>,
    behaviour: Arc<Behaviour>,
    running: JoinSet<()>,
}

#[derive(Default)]
pub(crate) struct Behaviour {
    /// Whether it claims to have stored something that it did not store.
    pub(crate) lies: AtomicBool,
    /// Whether it refuses all reads.
    pub(crate) write_only: AtomicBool,
    /// How many requests wrote something.
    pub(crate) writes: AtomicUsize,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts a server with TLS and a certificate that nobody trusts; `None` without the openssl command.
    pub(crate) async fn start_with_tls(folder: &Path) -> Option<(Self, PathBuf)> {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=lastword",
            ])
            .args([
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output();
        if !made.is_ok_and(|made| made.status.success()) {
            eprintln!("skipped: making a certificate needs openssl");
            return None;
        }
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let chain = CertificateDer::pem_file_iter(&certificate)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::from_pem_file(&key).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let server = Self::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await;
        Some((server, certificate))
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut server = Self {
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls,
            behaviour: Arc::default(),
            running: JoinSet::new(),
        };
        server.resume().await;
        server
    }

    /// Continues at the same address.
    pub(crate) async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let mut builder =
            S3ServiceBuilder::new(s3s_fs::FileSystem::new(self.folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let (service, behaviour, tls) = (builder.build(), self.behaviour.clone(), self.tls.clone());
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (service, behaviour, tls) = (service.clone(), behaviour.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, service, behaviour).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, service, behaviour).await;
                            }
                        }
                    }
                });
            }
        });
    }

    /// Refuses new connections, and cuts the open ones.
    pub(crate) async fn stop(&mut self) {
        self.running.shutdown().await;
    }

    pub(crate) fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// The configuration that gives access to the prefix `cluster-1`.
    pub(crate) fn config(&self) -> StoreConfig {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let options = [
            ("endpoint", format!("{scheme}://{}", self.address)),
            ("access_key_id", KEY.into()),
            ("secret_access_key", SECRET.into()),
            ("allow_http", self.tls.is_none().to_string()),
        ];
        StoreConfig {
            url: format!("s3://{BUCKET}/cluster-1"),
            options: options.map(|(key, value)| (key.to_owned(), value)).into(),
            ..StoreConfig::default()
        }
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.config()).unwrap()
    }

    /// The file in which the server has an object of this store.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join("cluster-1").join(key)
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: S3Service,
    behaviour: Arc<Behaviour>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (service, behaviour) = (service.clone(), behaviour.clone());
        async move {
            if request.method() != Method::PUT && behaviour.write_only.load(Ordering::Relaxed) {
                return Ok(Response::builder()
                    .status(403)
                    .body(s3s::Body::empty())
                    .unwrap());
            }
            if request.method() == Method::PUT {
                if !request.uri().path().starts_with(&format!("/{BUCKET}/")) {
                    // This is S3's answer. s3s-fs would create the bucket.
                    let says = "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";
                    let response = Response::builder().status(404);
                    return Ok(response.body(s3s::Body::from(says.to_owned())).unwrap());
                }
                behaviour.writes.fetch_add(1, Ordering::Relaxed);
                if behaviour.lies.load(Ordering::Relaxed) {
                    let response = Response::builder().header("etag", "\"0\"");
                    return Ok(response.body(s3s::Body::empty()).unwrap());
                }
            }
            Ok::<_, Infallible>(service.call(request.map(Into::into)).await.unwrap())
        }
    });
    // A client that goes away is not a failure of the server.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
