//! What a descriptor refers to, followed from event to event.
//!
//! The table knows what it has seen: opens, dups, pipes, sockets, forks, execs and closes, and what descriptors 0 to 2
//! were at exec. A descriptor that was opened before the recording, or by an event that was overwritten, is shown as
//! unknown.

use std::fmt;

use bytes::Bytes;
use capture_format::{Class, Event, EventKind, FdType};

use crate::decode::SockAddr;
use crate::decode::sockaddr::family_name;
use crate::escape::escaped;
use crate::own;

mod table;

pub use table::Fds;

/// What one descriptor refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fd {
    /// The file, pipe or socket that it refers to.
    pub target: Target,
    /// The standard stream of the program that it is, or was duplicated from.
    pub stdio: Option<Stdio>,
    cloexec: bool,
}

/// The file, pipe or socket that a descriptor refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path as opened; relative if the working directory is not known.
    Path(Bytes),
    /// Only the last component of the path is known, because the open was not seen.
    Name(Bytes),
    /// A pipe.
    Pipe,
    /// A socket.
    Socket {
        /// `domain` of socket(2), if seen.
        domain: Option<u16>,
        /// `type` of socket(2) without its flags, if seen: 1 stream, 2 datagram.
        stype: Option<u8>,
        /// The address that it is bound to, if seen.
        local: Option<SockAddr>,
        /// The address that it is connected to or was accepted from, if seen.
        peer: Option<SockAddr>,
        /// Whether it listens or was accepted: then this side is the server.
        serves: bool,
    },
    /// Inherited at exec: only the type is known.
    Inherited(FdType),
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stdio {
    /// Descriptor 0.
    Stdin,
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stdio {
    fn of(fd: i64) -> Option<Self> {
        [Self::Stdin, Self::Stdout, Self::Stderr]
            .get(usize::try_from(fd).ok()?)
            .copied()
    }

    /// Its descriptor.
    #[must_use]
    pub fn number(self) -> i64 {
        self as i64
    }

    /// `stdin`, `stdout` or `stderr`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl fmt::Display for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Fd {
    /// Appends the text for people, as [`Display`](fmt::Display) writes it.
    pub fn push_to(&self, out: &mut String) {
        match (&self.target, self.stdio) {
            (Target::Path(path), _) => escaped(path).push_to(out),
            (Target::Name(name), _) => {
                out.push_str("…/");
                escaped(name).push_to(out);
            }
            (_, Some(stdio)) => out.push_str(stdio.name()),
            (Target::Pipe, None) => out.push_str("pipe"),
            (
                Target::Socket {
                    domain,
                    local,
                    peer,
                    ..
                },
                None,
            ) => {
                out.push_str(domain.and_then(family_name).unwrap_or("socket"));
                if let Some((word, address)) = match (peer, local) {
                    (Some(peer), _) => Some((" to ", peer)),
                    (None, Some(local)) => Some((" at ", local)),
                    (None, None) => None,
                } {
                    out.push_str(word);
                    address.push_to(out);
                }
            }
            (Target::Inherited(fd_type), None) => out.push_str(type_name(*fd_type)),
        }
    }

    fn new(target: Target, cloexec: bool) -> Self {
        Self {
            target,
            stdio: None,
            cloexec,
        }
    }

    /// The same, without memory that it shares with events.
    #[must_use]
    pub fn own(&self) -> Self {
        let target = match &self.target {
            Target::Path(path) => Target::Path(own(path)),
            Target::Name(name) => Target::Name(own(name)),
            other => other.clone(),
        };
        Self {
            target,
            ..self.clone()
        }
    }

    /// The path or its last component, if known.
    #[must_use]
    pub fn path(&self) -> Option<&Bytes> {
        match &self.target {
            Target::Path(path) | Target::Name(path) => Some(path),
            _ => None,
        }
    }

    /// Whether it is a pipe that a process of the run made, and no standard stream of the run.
    #[must_use]
    pub fn is_own_pipe(&self) -> bool {
        self.target == Target::Pipe && self.stdio.is_none()
    }

    /// The peer of a socket, if known.
    #[must_use]
    pub fn peer(&self) -> Option<&SockAddr> {
        match &self.target {
            Target::Socket { peer, .. } => peer.as_ref(),
            _ => None,
        }
    }

    /// Whether this can be what the probe found (`found`). If not, the table has missed a close.
    fn agrees_with(&self, found: FdType) -> bool {
        match (&self.target, found) {
            (_, FdType::UNKNOWN) | (Target::Inherited(FdType::UNKNOWN), _) => true,
            (Target::Socket { .. }, found) => found == FdType::SOCKET,
            (Target::Path(_) | Target::Name(_), found) => found != FdType::SOCKET,
            (Target::Pipe, found) => found == FdType::FIFO,
            (Target::Inherited(known), found) => *known == found,
        }
    }
}

/// `/etc/resolv.conf`, `…/error.log`, `stderr`, `pipe`, `socket to 10.96.0.10:53`; escaped.
impl fmt::Display for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.push_to(&mut text);
        f.write_str(&text)
    }
}

/// The type of descriptor that the probe found, in words.
#[must_use]
pub fn type_name(fd_type: FdType) -> &'static str {
    match fd_type {
        FdType::FIFO => "pipe",
        FdType::CHARACTER => "character device",
        FdType::DIRECTORY => "directory",
        FdType::BLOCK => "block device",
        FdType::REGULAR => "file",
        FdType::SOCKET => "socket",
        _ => "unknown",
    }
}

/// Whether an event of this kind may change what a descriptor refers to, or a working directory. [`Fds`] ignores all
/// other events, so a reader that only needs later descriptors may skip them.
#[must_use]
pub fn changes(kind: EventKind) -> bool {
    use EventKind as K;
    match kind.class() {
        Class::ChangesProcess => kind != K::OOM_KILL,
        Class::Opens | Class::ChangesDescriptor | Class::ChangesDirectory => true,
        Class::Gap => true,
        Class::CreatesSocket => kind == K::SOCKET,
        Class::Connects => kind != K::GETSOCKOPT,
        _ => false,
    }
}

/// Whether `args[0]` of an event of this kind is a descriptor that the call acts on, and not a directory to start from.
#[must_use]
pub fn acts_on_fd(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(
        kind.class(),
        Class::Reads | Class::Writes | Class::ActsOnFile
    ) || kind.class().is_on_socket()
        || matches!(
            kind,
            K::CLOSE
                | K::DUP
                | K::DUP2
                | K::DUP3
                | K::FCNTL
                | K::FCHDIR
                | K::INOTIFY_ADD_WATCH
                | K::SETNS
                | K::SETSOCKOPT
                | K::FLOCK
                | K::INTERRUPTED
        )
}

/// Whether `args[0]` of this event is such a descriptor: of an interrupted call only if the call acts on one.
#[must_use]
pub fn has_descriptor(event: &Event) -> bool {
    acts_on_fd(event.kind) && (event.kind != EventKind::INTERRUPTED || event.args[0] >= 0)
}

/// Whether `args[0]` of an event of this kind is the directory from which a relative `name` starts.
#[must_use]
pub fn starts_at_fd(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(
        kind,
        K::EXECVEAT
            | K::OPENAT
            | K::OPENAT2
            | K::MKDIRAT
            | K::UNLINKAT
            | K::RENAMEAT
            | K::RENAMEAT2
            | K::NEWFSTATAT
            | K::STATX
            | K::FACCESSAT
            | K::FACCESSAT2
            | K::READLINKAT
            | K::FCHMODAT
            | K::FCHOWNAT
            | K::LINKAT
            | K::MKNODAT
    )
}

/// Whether the event moved bytes through a socket, as far as the probe and the table know.
#[must_use]
pub fn is_on_socket(event: &Event, fd: Option<&Fd>) -> bool {
    event.kind.class().is_on_socket()
        || event.fd_type == FdType::SOCKET
        || fd.is_some_and(|fd| matches!(fd.target, Target::Socket { .. }))
}

/// Whether the call should create what its path names. Then ENOENT means that a directory is missing.
#[must_use]
pub fn creates(event: &Event) -> bool {
    use EventKind as K;
    /// This number is the same on every architecture that is recorded.
    const O_CREAT: i64 = 0o100;
    match event.kind {
        K::OPEN | K::OPENAT | K::OPENAT2 => event.args[1] & O_CREAT != 0,
        K::CREAT | K::MKDIR | K::MKDIRAT | K::MKNOD | K::MKNODAT => true,
        _ => false,
    }
}

/// The meaning of an event's `name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRole {
    /// A path as passed to the call.
    Path,
    /// A socket address.
    Address,
    /// A command name.
    Command,
    /// The last component of the path that the descriptor refers to.
    File,
    /// A lane of the ring.
    Lane,
}

/// The meaning of `name` in such an event.
#[must_use]
pub fn name_role(event: &Event) -> NameRole {
    let kind = event.kind;
    match kind.class() {
        Class::Signals if kind == EventKind::INTERRUPTED => match event.fd_type {
            FdType::SOCKET => NameRole::Address,
            _ => NameRole::File,
        },
        Class::ChangesProcess if kind != EventKind::EXEC => NameRole::Command,
        Class::Signals => NameRole::Command,
        Class::Reads | Class::Writes => NameRole::File,
        Class::CreatesSocket | Class::Connects | Class::Sends | Class::Receives => {
            NameRole::Address
        }
        Class::Gap => NameRole::Lane,
        _ => NameRole::Path,
    }
}

/// Whether `name` of an event of this kind is a path as passed to a call.
#[must_use]
pub fn has_path(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(
        kind.class(),
        Class::Opens | Class::LooksUp | Class::ActsOnPath
    ) || matches!(
        kind,
        K::EXEC | K::EXECVE | K::EXECVEAT | K::CHDIR | K::INOTIFY_ADD_WATCH
    )
}
