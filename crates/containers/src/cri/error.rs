//! What can go wrong with the container runtime, and what to do then.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};

use super::{MAX_MESSAGE, SOCKETS};

/// Why the container runtime did not answer as it should.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CriError {
    /// None of the usual sockets exists.
    #[error(
        "no socket of a container runtime: looked for {}; mount the folder of the runtime's socket into the agent, or name the \
         socket in its configuration",
        SOCKETS.join(", ")
    )]
    NoSocket,
    /// The given endpoint is not a path.
    #[error("`{0}` is no socket of a container runtime: write a path, or unix:// and a path")]
    BadEndpoint(String),
    /// The socket does not exist.
    #[error("{} does not exist: is the container runtime running, and is the folder of its socket mounted into the agent?", .0.display())]
    Missing(PathBuf),
    /// The socket may not be opened.
    #[error("{} may not be opened: the agent must run as root, and SELinux or AppArmor must not forbid it", .0.display())]
    Denied(PathBuf),
    /// Nobody listens.
    #[error("nobody listens at {}: is the container runtime running? A folder must be mounted, not the socket, to survive its restart", .0.display())]
    NotListening(PathBuf),
    /// The runtime is too old.
    #[error("the container runtime at {} only speaks runtime.v1alpha2: runtime.v1 is needed, which containerd has since 1.6", .0.display())]
    OldVersion(PathBuf),
    /// The runtime does not speak CRI at all.
    #[error(
        "{} does not speak the container runtime interface: containerd may have it among `disabled_plugins` of its configuration \
         (Docker's packages do), and Docker needs cri-dockerd",
        .0.display()
    )]
    NoCri(PathBuf),
    /// No answer came in time.
    #[error("the container runtime at {} did not answer {call} within {} s", socket.display(), .after.as_secs_f64())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The call.
        call: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// The answer is larger than is allowed.
    #[error("the answer of the container runtime at {} to {call} is larger than {} MiB: too many containers?", socket.display(), MAX_MESSAGE >> 20)]
    TooLarge {
        /// The socket.
        socket: PathBuf,
        /// The call.
        call: &'static str,
    },
    /// Any other error.
    #[error("the container runtime at {} answered {call} with {code:?}: {message}", socket.display())]
    Failed {
        /// The socket.
        socket: PathBuf,
        /// The call.
        call: &'static str,
        /// gRPC's code.
        code: Code,
        /// The runtime's message.
        message: String,
    },
}

impl CriError {
    pub(super) fn new(socket: &Path, call: &'static str, status: &Status) -> Self {
        let socket = socket.to_owned();
        match io_kind(status) {
            Some(io::ErrorKind::NotFound) => return Self::Missing(socket),
            Some(io::ErrorKind::PermissionDenied) => return Self::Denied(socket),
            Some(io::ErrorKind::ConnectionRefused) => return Self::NotListening(socket),
            _ => {}
        }
        match status.code() {
            Code::Unimplemented => Self::NoCri(socket),
            // Our limit, and the runtime's.
            Code::OutOfRange | Code::ResourceExhausted => Self::TooLarge { socket, call },
            code => Self::Failed {
                socket,
                call,
                code,
                message: message(status),
            },
        }
    }

    /// Whether the error says that the container does not exist. cri-dockerd passes Docker's message on.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Failed { code, message, .. } => {
                *code == Code::NotFound || message.contains("No such container")
            }
            _ => false,
        }
    }
}

fn chain(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&error| error.source())
}

fn io_kind(status: &Status) -> Option<io::ErrorKind> {
    chain(status).find_map(|error| Some(error.downcast_ref::<io::Error>()?.kind()))
}

fn message(status: &Status) -> String {
    let mut message = status.message().to_owned();
    for error in chain(status) {
        let cause = error.to_string();
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}
