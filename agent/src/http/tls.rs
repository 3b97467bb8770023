//! TLS for alerts. Certificate and key are files of a Secret of the type `kubernetes.io/tls`, which may come, change and
//! go while the agent runs. Protocol versions and ciphers are those that rustls takes for safe: TLS 1.2 and 1.3.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::Acceptor,
};
use tokio::{net::TcpStream, sync::watch, time::sleep};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

/// The names that Secrets of the type `kubernetes.io/tls` have for them.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// How many bytes of each file are read.
const MAX_BYTES: u64 = 256 * 1024;
/// Pause between two handshakes. Each costs about a millisecond of the loop's time, so strangers get a twentieth of it.
const PACE: Duration = Duration::from_millis(20);

/// A certificate with its key, as the files have it now.
#[derive(Debug)]
pub(crate) struct Certificate {
    directory: PathBuf,
    read: Mutex<Found>,
    /// Why it cannot be used; none if it can, or if there is none.
    trouble: watch::Sender<Option<String>>,
    turn: tokio::sync::Mutex<()>,
}

/// What the files had when they were read last.
#[derive(Debug, Default)]
struct Found {
    files: Option<[Version; 2]>,
    config: Option<Arc<ServerConfig>>,
}

/// Which version of a file it is: device, inode, size, and when it was changed. None for a file that is not there.
type Version = Option<[i64; 5]>;

impl Certificate {
    /// Reads it from this directory.
    pub(crate) fn new(directory: PathBuf) -> Self {
        let certificate = Self {
            directory,
            read: Mutex::default(),
            trouble: watch::Sender::default(),
            turn: tokio::sync::Mutex::default(),
        };
        certificate.config();
        certificate
    }

    /// Why the files cannot be used; none while they can, or are not there.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Whether there is a file of it, usable or not.
    pub(super) fn is_there(&self) -> bool {
        self.versions().iter().any(Option::is_some)
    }

    /// The server's side of a handshake.
    ///
    /// # Errors
    /// There is no usable certificate, or the handshake fails.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = self
            .config()
            .ok_or_else(|| io::Error::other("there is no usable certificate"))?;
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        {
            let _turn = self.turn.lock().await;
            sleep(PACE).await;
        }
        hello.into_stream(config).await
    }

    /// The configuration with the certificate of now. If it is unusable, that with the one before.
    fn config(&self) -> Option<Arc<ServerConfig>> {
        let versions = self.versions();
        let mut found = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if found.files == Some(versions) {
            return found.config.clone();
        }
        // Before the files are read: what changes meanwhile is read again.
        found.files = Some(versions);
        if versions == [None; 2] {
            found.config = None;
            self.trouble.send_replace(None);
            return None;
        }
        match load(&self.directory) {
            Ok(config) => {
                tracing::info!(directory = %self.directory.display(), "alerts are taken by TLS alone, with the certificate there");
                found.config = Some(Arc::new(config));
                self.trouble.send_replace(None);
            }
            Err(why) => {
                let still = found.config.as_ref();
                let still = still.map_or("", |_| "; the certificate before is still used");
                let why = format!("{why}{still}");
                tracing::error!("the certificate for alerts cannot be used: {why}");
                self.trouble.send_replace(Some(why));
            }
        }
        found.config.clone()
    }

    fn versions(&self) -> [Version; 2] {
        [CERTIFICATE, KEY].map(|name| {
            let file = fs::metadata(self.directory.join(name)).ok()?;
            Some([
                file.dev().cast_signed(),
                file.ino().cast_signed(),
                file.size().cast_signed(),
                file.ctime(),
                file.ctime_nsec(),
            ])
        })
    }
}

/// Reads both files, and checks that they belong together.
fn load(directory: &Path) -> Result<ServerConfig, String> {
    let [certificate, key] = [CERTIFICATE, KEY].map(|name| directory.join(name));
    let unusable = |file: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(&certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|why| unusable(&certificate, &why))?;
    if chain.is_empty() {
        return Err(unusable(&certificate, &"it has no certificate in PEM"));
    }
    let private =
        PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|why| unusable(&key, &why))?;
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, private)
        })
        .map_err(|why| {
            let both = format!("{} with {}", certificate.display(), key.display());
            format!("{both}: {why}")
        })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsConnector, client};

    use super::{
        super::testing::{Agent, TOKEN, request},
        *,
    };

    /// Puts a new certificate there; false where openssl is missing.
    fn make(directory: &Path) -> bool {
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=lastword"])
            .args(["-addext", "subjectAltName=DNS:lastword.lastword.svc"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-out")
            .arg(directory.join(CERTIFICATE))
            .arg("-keyout")
            .arg(directory.join(KEY))
            .output();
        let made = made.is_ok_and(|made| made.status.success());
        if !made {
            eprintln!("skipped: making a certificate needs openssl");
        }
        made
    }

    /// A connection of a client that trusts the certificate in this directory.
    async fn connect(agent: &Agent, trusts: &Path) -> io::Result<client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(trusts.join(CERTIFICATE)).unwrap();
        roots.add(certificate).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("lastword.lastword.svc").unwrap();
        let stream = agent.connect_tls().await;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    async fn send(agent: &Agent, trusts: &Path, request: &[u8]) -> String {
        let mut stream = connect(agent, trusts).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn alert() -> Vec<u8> {
        let authorization = format!("Authorization: Bearer {TOKEN}\r\n");
        let body = r#"{"namespace": "shop", "pod": "web-1"}"#;
        request("POST", "/api/v1/alerts", &authorization, body)
    }

    #[tokio::test]
    async fn alerts_come_by_tls_alone_as_long_as_there_is_a_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let agent = Agent::with_certificate(folder.path()).await;
        let answer = agent.send(&alert()).await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        if !make(folder.path()) {
            return;
        }
        let answer = send(&agent, folder.path(), &alert()).await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        assert!(answer.contains("web-1-1"), "{answer}");
        let answer = agent.send(&alert()).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(answer.contains("TLS"), "{answer}");
        // A certificate that cannot be used does not open the way without TLS.
        fs::remove_file(folder.path().join(KEY)).unwrap();
        let answer = agent.send(&alert()).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }

    #[tokio::test]
    async fn nothing_else_is_served_by_tls() {
        let folder = tempfile::tempdir().unwrap();
        if !make(folder.path()) {
            return;
        }
        let agent = Agent::with_certificate(folder.path()).await;
        for path in ["/metrics", "/healthz", "/readyz"] {
            let answer = send(&agent, folder.path(), &request("GET", path, "", "")).await;
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_certificate_that_is_changed_holds_at_once() {
        let [old, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        if !make(folder.path()) {
            return;
        }
        let agent = Agent::with_certificate(folder.path()).await;
        connect(&agent, folder.path()).await.unwrap();
        for name in [CERTIFICATE, KEY] {
            fs::copy(folder.path().join(name), old.path().join(name)).unwrap();
        }
        make(folder.path());
        connect(&agent, folder.path()).await.unwrap();
        connect(&agent, old.path()).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_bad_certificate_is_named_and_the_one_before_goes_on() {
        let [other, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        if !make(folder.path()) || !make(other.path()) {
            return;
        }
        let agent = Agent::with_certificate(folder.path()).await;
        let trouble = agent.trouble();
        connect(&agent, folder.path()).await.unwrap();
        assert_eq!(*trouble.borrow(), None);
        fs::copy(other.path().join(KEY), folder.path().join(KEY)).unwrap();
        connect(&agent, folder.path()).await.unwrap();
        let said = trouble.borrow().clone().unwrap_or_default();
        assert!(said.contains(KEY) && said.contains("still used"), "{said}");
    }

    #[test]
    fn each_kind_of_bad_file_has_one_clear_error() {
        let [other, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let said = |directory: &Path| {
            Certificate::new(directory.to_owned())
                .trouble()
                .borrow()
                .clone()
                .unwrap_or_default()
        };
        assert_eq!(said(folder.path()), "");
        if !make(folder.path()) || !make(other.path()) {
            return;
        }
        assert_eq!(said(folder.path()), "");
        let certificate = folder.path().join(CERTIFICATE);
        for (content, words) in [("", "no certificate"), ("-----BEGIN", CERTIFICATE)] {
            let before = fs::read(&certificate).unwrap();
            fs::write(&certificate, content).unwrap();
            let said = said(folder.path());
            assert!(said.contains(words), "{content}: {said}");
            fs::write(&certificate, before).unwrap();
        }
        fs::copy(other.path().join(KEY), folder.path().join(KEY)).unwrap();
        assert!(
            said(folder.path()).contains(" with "),
            "{}",
            said(folder.path())
        );
        fs::remove_file(folder.path().join(KEY)).unwrap();
        assert!(
            said(folder.path()).contains("cannot read"),
            "{}",
            said(folder.path())
        );
    }
}
