//! The subject of a call: the file, address or name that it was about.

use std::fmt;

use serde::Serialize;

use super::Text;
use events::context::Seen;
use events::decode::SockAddr;
use events::fds::{Fd, Stdio, Target, has_descriptor, has_path};

/// What a call was about: exactly one of a file, a standard stream, an address, or a descriptor about which nothing
/// more is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A path; absolute if that is known.
    Path(Text),
    /// The last component of a path whose open was not seen.
    Name(Text),
    /// `stdin`, `stdout` or `stderr`, if it is not a file.
    Stdio(String),
    /// A socket address; escaped.
    Address(String),
    /// What else is known of a descriptor: `pipe`, `character device`, `AF_NETLINK`.
    Descriptor(String),
    /// The call has no subject that could be named.
    Nothing,
}

impl Subject {
    /// The subject of an event.
    pub(crate) fn of(seen: &Seen<'_>) -> Self {
        let event = seen.event;
        if has_path(event.kind) && !seen.path.is_empty() {
            return Self::Path(Text::new(&seen.path));
        }
        let is_socket_call = event.kind.class().is_on_socket();
        if is_socket_call && let Some(address) = SockAddr::parse(&event.name) {
            return Self::Address(address.canonical().to_string());
        }
        match &seen.fd {
            Some(fd) => Self::of_fd(fd),
            None if has_descriptor(event) => Self::Descriptor(format!(
                "descriptor {} (opened before the recording)",
                event.args[0]
            )),
            None => Self::Nothing,
        }
    }

    /// What a descriptor refers to.
    pub(crate) fn of_fd(fd: &Fd) -> Self {
        match (&fd.target, fd.stdio) {
            (Target::Path(path), _) => Self::Path(Text::new(path)),
            (Target::Name(name), _) => Self::Name(Text::new(name)),
            (_, Some(stdio)) => Self::Stdio(Stdio::to_string(&stdio)),
            (
                Target::Socket {
                    peer: Some(peer), ..
                },
                None,
            ) => Self::Address(peer.clone().canonical().to_string()),
            _ => Self::Descriptor(fd.to_string()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Name(name) => write!(f, "…/{name}"),
            Self::Stdio(text) | Self::Address(text) | Self::Descriptor(text) => f.write_str(text),
            Self::Nothing => Ok(()),
        }
    }
}
