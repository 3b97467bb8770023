//! System calls as events of sysdig. A call for which sysdig's tables have no event becomes a `notification` with the
//! call in words.

use capture_format::{EventKind as K, Host};

use super::Flavour;
use super::address::{address, local, tuple};
use super::block::Parameters;
use super::tables::{self as t, AT_FDCWD};
use crate::export::name::kind_name;
use crate::show::text;
use events::context::Seen;
use events::decode::SockAddr;
use events::fds::Fd;

/// One event in the reader's format.
pub(super) struct Call {
    /// Number of the enter event.
    pub(super) kind: u16,
    /// Parameters of the enter event. `None`: there is no exit event, and `exit` has the event's own parameters.
    pub(super) enter: Option<Parameters>,
    /// Parameters of the exit event.
    pub(super) exit: Parameters,
    /// How many of the exit parameters are known to readers that take arguments from the enter event.
    pub(super) classic: usize,
}

impl Call {
    pub(super) fn pair(kind: u16, enter: Parameters, exit: Parameters, classic: usize) -> Self {
        Self {
            kind,
            enter: Some(enter),
            exit,
            classic,
        }
    }

    pub(super) fn alone(kind: u16, parameters: Parameters) -> Self {
        Self {
            kind,
            enter: None,
            exit: parameters,
            classic: usize::MAX,
        }
    }

    /// A notification: a sentence with a name.
    pub(super) fn notification(name: &str, text: &str) -> Self {
        let parameters = Parameters::new().text(name.as_bytes());
        Self::alone(t::NOTIFICATION, parameters.text(text.as_bytes()))
    }
}

/// A system call, except execve(2).
pub(super) fn call(seen: &Seen<'_>, flavour: Flavour, host: &Host) -> Call {
    let transfer = transfer(seen).or_else(|| message(seen));
    transfer
        .or_else(|| socket(seen))
        .or_else(|| descriptor(seen, flavour))
        .or_else(|| path(seen, host))
        .unwrap_or_else(|| Call::notification(&kind_name(seen.event.kind), &text::call(seen, host)))
}

/// read, write and similar calls. The position in the file is not recorded, so pread is written as read.
fn transfer(seen: &Seen<'_>) -> Option<Call> {
    let event = seen.event;
    let ([fd, _, size], new) = (event.args, Parameters::new);
    let data = || new().i64(event.ret).bytes(&event.data).i64(fd);
    Some(match event.kind {
        K::READ | K::PREAD64 => Call::pair(t::READ, new().i64(fd).low(size), data().low(size), 2),
        K::WRITE | K::PWRITE64 => {
            Call::pair(t::WRITE, new().i64(fd).low(size), data().low(size), 2)
        }
        // For these calls the arguments have the number of buffers and not the number of bytes.
        K::READV | K::PREADV | K::PREADV2 => {
            let moved = new().i64(event.ret).low(event.ret.max(0));
            let exit = moved.bytes(&event.data).i64(fd);
            Call::pair(t::READV, new().i64(fd), exit, 3)
        }
        K::WRITEV | K::PWRITEV | K::PWRITEV2 => {
            let moved = event.ret.max(0);
            Call::pair(t::WRITEV, new().i64(fd).low(moved), data().low(moved), 2)
        }
        _ => return None,
    })
}

/// Calls that send or receive through a socket.
fn message(seen: &Seen<'_>) -> Option<Call> {
    let event = seen.event;
    let ([fd, _, asked], new) = (event.args, Parameters::new);
    let named = SockAddr::parse(&event.name);
    let peer = named
        .as_ref()
        .or_else(|| seen.fd.as_ref().and_then(Fd::peer));
    let here = local(seen.fd.as_ref());
    // sendmmsg and recvmmsg return the number of messages; this event is one of the messages.
    let ret = match event.kind {
        K::SENDMMSG | K::RECVMMSG if event.ret >= 0 => event.data.len() as i64,
        _ => event.ret,
    };
    let size = if asked > 0 { asked } else { ret.max(0) };
    let result = || new().i64(ret);
    Some(match event.kind {
        K::SENDTO | K::SENDMSG | K::SENDMMSG => {
            let kind = if event.kind == K::SENDTO {
                t::SENDTO
            } else {
                t::SENDMSG
            };
            let to = tuple(here, peer);
            let exit = result().bytes(&event.data).i64(fd).low(size).bytes(&to);
            Call::pair(kind, new().i64(fd).low(size).bytes(&to), exit, 2)
        }
        K::RECVFROM => {
            let from = tuple(peer, here);
            let exit = result().bytes(&event.data).bytes(&from).i64(fd).low(size);
            Call::pair(t::RECVFROM, new().i64(fd).low(size), exit, 3)
        }
        K::RECVMSG | K::RECVMMSG => {
            let from = tuple(peer, here);
            let exit = result().low(size).bytes(&event.data).bytes(&from);
            Call::pair(t::RECVMSG, new().i64(fd), exit.bytes(&[]).i64(fd), 5)
        }
        _ => return None,
    })
}

/// Calls that make, name and connect sockets.
fn socket(seen: &Seen<'_>) -> Option<Call> {
    let event = seen.event;
    let ([first, second, third], new) = (event.args, Parameters::new);
    let named = SockAddr::parse(&event.name);
    let here = local(seen.fd.as_ref());
    let result = || new().i64(event.ret);
    Some(match event.kind {
        K::SOCKET => {
            let arguments = |it: Parameters| it.low(first).low(second).low(third);
            Call::pair(t::SOCKET, arguments(new()), arguments(result()), 1)
        }
        K::CONNECT => {
            let peer = address(named.as_ref());
            let exit = result().bytes(&tuple(here, named.as_ref())).i64(first);
            Call::pair(
                t::CONNECT,
                new().i64(first).bytes(&peer),
                exit.bytes(&peer),
                3,
            )
        }
        K::BIND => {
            let exit = result().bytes(&address(named.as_ref())).i64(first);
            Call::pair(t::BIND, new().i64(first), exit, 2)
        }
        K::LISTEN => {
            let arguments = |it: Parameters| it.i64(first).low(second);
            Call::pair(t::LISTEN, arguments(new()), arguments(result()), 1)
        }
        K::ACCEPT | K::ACCEPT4 => {
            let exit = result().bytes(&tuple(named.as_ref(), here));
            Call::pair(t::ACCEPT, new(), exit.u8(0).u32(0).u32(0), 5)
        }
        K::GETSOCKOPT => {
            let option = result().i64(first).u8(t::SOL_SOCKET).u8(t::SO_ERROR);
            let error = [&[t::VALUE_IS_ERRNO][..], &(-second).to_le_bytes()].concat();
            Call::pair(t::GETSOCKOPT, new(), option.bytes(&error).u32(4), 6)
        }
        _ => return None,
    })
}

/// Calls that close and duplicate descriptors.
fn descriptor(seen: &Seen<'_>, flavour: Flavour) -> Option<Call> {
    let event = seen.event;
    let ([first, second, third], new) = (event.args, Parameters::new);
    let result = || new().i64(event.ret);
    let fd = || new().i64(first);
    Some(match event.kind {
        K::CLOSE => Call::pair(t::CLOSE, fd(), result().i64(first), 1),
        K::DUP | K::DUP2 | K::DUP3 if flavour == Flavour::Classic => {
            Call::pair(t::OLD_DUP, fd(), result(), 1)
        }
        K::DUP => Call::pair(t::DUP, fd(), result().i64(first), 2),
        K::DUP2 => Call::pair(t::DUP2, fd(), result().i64(first).i64(event.ret), 3),
        K::DUP3 => {
            let exit = result().i64(first).i64(event.ret);
            Call::pair(t::DUP3, fd(), exit.u32(t::open_flags(third, "") & !3), 4)
        }
        K::FCNTL => {
            let command = match second {
                0 => t::F_DUPFD,
                6 => t::F_SETLK,
                37 => t::F_OFD_SETLK,
                _ => t::F_DUPFD_CLOEXEC,
            };
            let exit = result().i64(first).u8(command);
            Call::pair(t::FCNTL, fd().u8(command), exit, 1)
        }
        K::PIPE | K::PIPE2 => {
            let exit = result().i64(first).i64(second).u64(0);
            Call::pair(t::PIPE, new(), exit, 4)
        }
        K::FCHDIR => Call::pair(t::FCHDIR, fd(), result().i64(first), 1),
        _ => return None,
    })
}

/// Calls with a path. The path is absolute if that is known, so that nothing depends on the working directory.
fn path(seen: &Seen<'_>, host: &Host) -> Option<Call> {
    let event = seen.event;
    let ([_, second, third], new) = (event.args, Parameters::new);
    let result = || new().i64(event.ret);
    let named = || result().text(&seen.path);
    let at = || result().i64(AT_FDCWD).text(&seen.path);
    Some(match event.kind {
        K::OPEN | K::OPENAT | K::OPENAT2 | K::CREAT => {
            /// O_WRONLY, O_CREAT and O_TRUNC: the flags that creat(2) implies.
            const CREATES: i64 = 0o1101;
            let flags = if event.kind == K::CREAT {
                CREATES
            } else {
                second
            };
            let flags = t::open_flags(flags, &host.arch);
            let arguments = |it: Parameters| {
                let it = it.i64(AT_FDCWD).text(&seen.path);
                it.u32(flags).low(third)
            };
            let exit = arguments(result()).u32(0).u64(0);
            Call::pair(t::OPEN, arguments(new()), exit, 7)
        }
        K::CHDIR => Call::pair(t::CHDIR, new(), named(), 2),
        K::STAT | K::NEWFSTATAT | K::STATX => Call::pair(t::STAT, new(), named(), 2),
        K::LSTAT => Call::pair(t::LSTAT, new(), named(), 2),
        K::ACCESS | K::FACCESSAT | K::FACCESSAT2 => {
            let mode = if event.kind == K::ACCESS {
                second
            } else {
                third
            };
            Call::pair(t::ACCESS, new().low(mode), named().low(mode), 2)
        }
        K::MKDIR => Call::pair(t::MKDIR, new().u32(0), named().u32(0), 2),
        K::MKDIRAT => Call::pair(t::MKDIRAT, new(), at().u32(0), 4),
        K::UNLINK => Call::pair(t::UNLINK, new(), named(), 2),
        K::UNLINKAT => Call::pair(t::UNLINKAT, new(), at().u32(0), 4),
        K::RENAME | K::RENAMEAT | K::RENAMEAT2 => {
            Call::pair(t::RENAME, new(), named().text(&event.data), 3)
        }
        _ => return None,
    })
}
