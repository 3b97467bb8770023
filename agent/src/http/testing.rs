//! For tests: an endpoint with a loop that answers, and a client that sends bytes.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{Certificate, Endpoint};
use crate::{
    allowance::Allowance,
    metrics::Metrics,
    node::handle::{Alert, AlertOutcome, Handle, Request, Status},
};

/// How many captures alerts may ask the endpoint for in a minute.
pub(super) const PER_MINUTE: u32 = 60;
/// The endpoint's token.
pub(super) const TOKEN: &str = "0123456789abcdef";

/// The loop's answer to an alert.
type Answer = fn(&Alert) -> Result<AlertOutcome, String>;

pub(super) struct Agent {
    address: SocketAddr,
    /// Where alerts are taken by TLS, and with which certificate.
    tls: Option<(SocketAddr, Arc<Certificate>)>,
    /// The alerts that came.
    pub(super) alerts: Arc<Mutex<Vec<Alert>>>,
    _folder: tempfile::TempDir,
}

impl Agent {
    pub(super) async fn new() -> Self {
        Self::with_status(Status::default()).await
    }

    pub(super) async fn with_status(status: Status) -> Self {
        let answer: Answer = |alert| Ok(AlertOutcome::Created(format!("{}-1", alert.pod)));
        Self::start(Some((status, answer)), true).await
    }

    pub(super) async fn answering(answer: Answer) -> Self {
        Self::start(Some((Status::default(), answer)), true).await
    }

    pub(super) async fn without_loop() -> Self {
        Self::start(None, true).await
    }

    pub(super) async fn without_token() -> Self {
        let answer: Answer = |_| Err("never asked".to_owned());
        Self::start(Some((Status::default(), answer)), false).await
    }

    /// Alerts may only be about these namespaces.
    pub(super) async fn for_namespaces(namespaces: &[&str]) -> Self {
        let answer: Answer = |alert| Ok(AlertOutcome::Created(format!("{}-1", alert.pod)));
        Self::start_for(Some((Status::default(), answer)), true, namespaces, None).await
    }

    /// Takes alerts by TLS, too, with the certificate in this directory.
    pub(super) async fn with_certificate(directory: &Path) -> Self {
        let answer: Answer = |alert| Ok(AlertOutcome::Created(format!("{}-1", alert.pod)));
        let certificate = Certificate::new(directory.to_owned());
        Self::start_for(
            Some((Status::default(), answer)),
            true,
            &[],
            Some(certificate),
        )
        .await
    }

    async fn start(answers: Option<(Status, Answer)>, token: bool) -> Self {
        Self::start_for(answers, token, &[], None).await
    }

    async fn start_for(
        answers: Option<(Status, Answer)>,
        token: bool,
        namespaces: &[&str],
        certificate: Option<Certificate>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file: PathBuf = folder.path().join("token");
        std::fs::write(&file, TOKEN).unwrap();
        let (handle, mut requests) = Handle::new();
        let alerts = Arc::new(Mutex::new(Vec::new()));
        if let Some((status, answer)) = answers {
            let alerts = Arc::clone(&alerts);
            tokio::spawn(async move {
                while let Some(request) = requests.recv().await {
                    match request {
                        Request::Status(reply) => drop(reply.send(status.clone())),
                        Request::Alert { alert, reply } => {
                            drop(reply.send(answer(&alert)));
                            alerts.lock().unwrap().push(alert);
                        }
                        Request::Capture { .. } => panic!("not by HTTP"),
                    }
                }
            });
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = Endpoint {
            handle,
            metrics: Arc::new(Metrics::new()),
            token_file: token.then_some(file),
            namespaces: Arc::new(namespaces.iter().map(|name| (*name).to_owned()).collect()),
            allowance: Arc::new(Allowance::new(NonZeroU32::new(PER_MINUTE).unwrap())),
            certificate: certificate.map(Arc::new),
        };
        let mut tls = None;
        if let Some(certificate) = &endpoint.certificate {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tls = Some((listener.local_addr().unwrap(), certificate.clone()));
            tokio::spawn(endpoint.clone().serve_tls(listener));
        }
        tokio::spawn(endpoint.serve(listener));
        Self {
            address,
            tls,
            alerts,
            _folder: folder,
        }
    }

    /// Sends bytes and returns what is answered until the connection ends.
    pub(super) async fn send(&self, bytes: &[u8]) -> String {
        let (mut reader, mut writer) = self.connect().await.into_split();
        let bytes = bytes.to_vec();
        // The endpoint may answer and close before it has taken everything.
        tokio::spawn(async move {
            let _ = writer.write_all(&bytes).await;
            std::future::pending::<()>().await;
        });
        let mut answer = Vec::new();
        let _ = reader.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects where alerts are taken by TLS.
    pub(super) async fn connect_tls(&self) -> TcpStream {
        let (address, _) = self.tls.as_ref().unwrap();
        TcpStream::connect(address).await.unwrap()
    }

    /// What is wrong with the certificate.
    pub(super) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.tls.as_ref().unwrap().1.trouble()
    }

    /// Posts an alert with the right token.
    pub(super) async fn post(&self, body: &str) -> String {
        let authorization = format!("Authorization: Bearer {TOKEN}\r\n");
        let request = request("POST", "/api/v1/alerts", &authorization, body);
        self.send(&request).await
    }
}

/// A request; `headers` are whole lines.
pub(super) fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
