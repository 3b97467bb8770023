//! The sections of the configuration file.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::bounds;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recorder {
    /// Bytes for the rings and the kept runs together; at least 16 MiB.
    #[serde(deserialize_with = "bounds::memory")]
    pub memory: ByteSize,
    /// Bytes kept of output, log files, DNS, small text files and failed writes; at most 4096.
    #[serde(deserialize_with = "bounds::payload")]
    pub text_payload: ByteSize,
    /// Bytes kept of other reads and writes; at most 4096.
    #[serde(deserialize_with = "bounds::payload")]
    pub other_payload: ByteSize,
    /// The largest file whose content is kept as configuration.
    #[serde(deserialize_with = "bounds::size")]
    pub config_file_max: ByteSize,
    /// Where rings and programs outlive the agent.
    pub pin: Pin,
}

/// A folder in a BPF file system, or `off`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pin(Option<PathBuf>);

impl Pin {
    /// The folder; none if nothing is to outlive the agent.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        self.0.clone()
    }
}

impl Default for Pin {
    fn default() -> Self {
        Self(Some("/sys/fs/bpf/lastword".into()))
    }
}

impl TryFrom<String> for Pin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "off" => Ok(Self(None)),
            path if path.starts_with('/') => Ok(Self(Some(path.into()))),
            _ => Err(format!(
                "`{text}` is neither off nor the path of a folder in a BPF file system, such as /sys/fs/bpf/lastword"
            )),
        }
    }
}

impl From<Pin> for String {
    fn from(Pin(folder): Pin) -> Self {
        folder.map_or_else(|| "off".to_owned(), |folder| folder.display().to_string())
    }
}

/// Memory that the agent needs at most in addition to rings and kept runs, in bytes: for 16 runs that are being
/// decoded, a few that are being encoded, and itself.
const BESIDES: u64 = 256 << 20;

impl Recorder {
    /// The memory limit that the agent needs, in bytes. The kernel counts the rings, too.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        self.memory.as_u64() + BESIDES
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(256),
            text_payload: ByteSize(4096),
            other_payload: ByteSize(256),
            config_file_max: ByteSize::kib(64),
            pin: Pin::default(),
        }
    }
}

/// How many runs are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runs {
    /// How many runs of each container are kept, which is also how many a capture holds; 1 to 20.
    #[serde(deserialize_with = "bounds::keep")]
    pub keep: usize,
}

impl Default for Runs {
    fn default() -> Self {
        Self { keep: 3 }
    }
}

/// What messages of further programs mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knowledge {
    /// A directory with files `*.toml`, such as a mounted ConfigMap. Read once, at the start.
    pub directory: Option<PathBuf>,
}

/// Captures on the node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// Its directory; created if missing.
    #[serde(deserialize_with = "bounds::absolute")]
    pub directory: PathBuf,
    /// Bytes of all captures; at least 1 MiB.
    #[serde(deserialize_with = "bounds::spool")]
    pub bytes: ByteSize,
    /// Captures of one pod; at least 1.
    #[serde(deserialize_with = "bounds::per_pod")]
    pub per_pod: usize,
    /// How long a capture is kept.
    #[serde(
        deserialize_with = "bounds::duration",
        serialize_with = "humantime_serde::serialize"
    )]
    pub max_age: Duration,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            directory: "/var/lib/lastword".into(),
            bytes: ByteSize::gib(2),
            per_pod: 10,
            max_age: 7 * DAY,
        }
    }
}

/// Captures in object storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// The place: `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///directory`. Without it nothing is uploaded.
    pub url: Option<String>,
    /// Options of the object_store crate, such as `aws_region`. Credentials should be in the environment or in
    /// `credentials` instead.
    pub options: BTreeMap<String, String>,
    /// A directory whose files are options, too; a mounted Secret is such a directory.
    pub credentials: Option<PathBuf>,
    /// A file of certificates (PEM) to trust in addition to those of the system.
    pub ca_certificates: Option<PathBuf>,
}

impl Storage {
    /// The store, if captures are to be uploaded.
    pub fn store(&self) -> Option<spool::StoreConfig> {
        Some(spool::StoreConfig {
            url: self.url.clone()?,
            options: self.options.clone(),
            credentials: self.credentials.clone(),
            ca_certificates: self.ca_certificates.clone(),
        })
    }
}

/// The container runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerRuntime {
    /// Its CRI socket.
    pub endpoint: RuntimeEndpoint,
}

/// Where a container runtime listens: `auto`, `off`, or the path of its socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RuntimeEndpoint {
    /// The first of the usual sockets that exists.
    #[default]
    Auto,
    /// No runtime is asked.
    Off,
    /// This socket.
    Path(PathBuf),
}

impl TryFrom<String> for RuntimeEndpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let path = text.strip_prefix("unix://").unwrap_or(&text);
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ if path.starts_with('/') => Ok(Self::Path(path.into())),
            _ => Err(format!(
                "`{text}` is neither auto nor off nor the path of a socket, such as /run/containerd/containerd.sock"
            )),
        }
    }
}

impl From<RuntimeEndpoint> for String {
    fn from(endpoint: RuntimeEndpoint) -> Self {
        match endpoint {
            RuntimeEndpoint::Auto => "auto".to_owned(),
            RuntimeEndpoint::Off => "off".to_owned(),
            RuntimeEndpoint::Path(path) => path.display().to_string(),
        }
    }
}

/// The API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// Whether the API server is used.
    pub enabled: Switch,
    /// How long a Capture object is kept.
    #[serde(
        deserialize_with = "bounds::duration",
        serialize_with = "humantime_serde::serialize"
    )]
    pub ttl: Duration,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            enabled: Switch::Auto,
            ttl: 7 * DAY,
        }
    }
}

/// Whether a service is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It is used if it exists.
    #[default]
    Auto,
    /// It must exist.
    On,
    /// It is not used.
    Off,
}

/// Metrics, health and alerts; files of captures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port.
    #[serde(deserialize_with = "bounds::listen")]
    pub listen: SocketAddr,
    /// Address and port that serve files of captures, on a loopback address: readers come through a port-forward.
    #[serde(deserialize_with = "bounds::loopback")]
    pub files_listen: SocketAddr,
    /// File with the bearer token that senders of alerts must present. Without it, no alerts are accepted.
    pub alerts_token_file: Option<PathBuf>,
    /// Directory with `tls.crt` and `tls.key`, such as a mounted Secret of the type `kubernetes.io/tls`. As long as they
    /// are there, alerts are taken by TLS alone.
    pub alerts_tls_directory: Option<PathBuf>,
    /// Address and port that take alerts by TLS.
    #[serde(deserialize_with = "bounds::listen")]
    pub alerts_tls_listen: SocketAddr,
    /// Namespaces whose pods alerts may have captured. Without any, all.
    pub alerts_namespaces: Vec<String>,
    /// How many captures all alerts together may ask this agent for, per minute.
    pub alerts_per_minute: NonZeroU32,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 9440)),
            files_listen: SocketAddr::from(([127, 0, 0, 1], 9441)),
            alerts_token_file: None,
            alerts_tls_directory: None,
            alerts_tls_listen: SocketAddr::from(([0, 0, 0, 0], 9443)),
            alerts_namespaces: Vec::new(),
            alerts_per_minute: NonZeroU32::new(120).unwrap_or(NonZeroU32::MIN),
        }
    }
}

/// The agent's log, on standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// Messages below this level are not logged.
    pub level: LogLevel,
}

/// For people or for machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Each message is a line of text.
    #[default]
    Text,
    /// Each message is a JSON object on a line.
    Json,
}

/// The lowest level that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Also what may be missing.
    Warn,
    /// Also what was done.
    #[default]
    Info,
    /// Also why.
    Debug,
    /// Everything.
    Trace,
}
