//! The agent's local socket, through which `lastword status` and `lastword capture` talk to the agent of their node.
//!
//! A connection carries one request and one answer, each a line of JSON ([`Ask`], [`Answer`]). Only root gets an
//! answer: the socket's mode is 0600, and the kernel says who is at the other end.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::node::handle::{CaptureOutcome, Status, Target};

pub(crate) mod client;
pub(crate) mod server;

/// Where the socket is, unless the configuration says otherwise.
pub(crate) const PATH: &str = "/run/lastword/agent.sock";

/// A request to the agent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Asks for the agent's status.
    Status,
    /// Capture these containers now.
    Capture {
        /// Which containers.
        target: Target,
        /// Why, in a person's words.
        reason: String,
    },
}

/// An answer of the agent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The answer to [`Ask::Status`].
    Status(Box<Status>),
    /// The answer to [`Ask::Capture`]: one outcome for each container that matched.
    Captured(Vec<CaptureOutcome>),
    /// Why the agent did not do what was asked.
    Refused(String),
}

/// A socket that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Nobody listens.
    #[error(
        "no agent runs here: nobody listens at {path}; start `lastword agent` (on Kubernetes `kubectl -n lastword get pods -o wide` shows the agent of this node)"
    )]
    NoAgent {
        /// The socket.
        path: String,
    },
    /// Another agent listens.
    #[error("another agent listens at {path}; one agent a node is enough")]
    InUse {
        /// The socket.
        path: String,
    },
    /// Something that is not a socket has its name.
    #[error("{path} is not a socket; remove it, or name another place in the configuration")]
    NotASocket {
        /// The file.
        path: String,
    },
    /// Only root may use the socket.
    #[error("only root may speak with the agent at {path}; use sudo")]
    OnlyRoot {
        /// The socket.
        path: String,
    },
    /// The agent refused the request.
    #[error("the agent says: {0}")]
    Refused(String),
    /// The other end sends something unknown; it may be another version.
    #[error(
        "cannot understand what the other end says: {0}; are agent and command of the same version?"
    )]
    Garbled(String),
    /// The socket does not work.
    #[error("{path}: {error}")]
    Io {
        /// The socket.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

impl SocketError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self::Io { path, error }
    }
}
