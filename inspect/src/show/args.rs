//! Arguments of events by name, for text and JSON alike.

use capture_format::{Event, EventKind as K, ExitStatus, FdType, SignalDisposition, SignalOrigin};
use serde::Serialize;

use crate::decode::Signal;
use crate::decode::open_flags::open_flags;
use crate::decode::sockaddr::{family_name, socket_type};
use crate::fds::{starts_at_fd, type_name};

const AT_FDCWD: i64 = -100;

/// The value of an argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Number(i64),
    Flag(bool),
    Symbol(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Symbol(symbol) => f.write_str(symbol),
        }
    }
}

/// What `name` of an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameRole {
    /// A path as the call got it.
    Path,
    /// A socket address.
    Address,
    /// A command name.
    Command,
    /// The last component of the path behind the descriptor.
    File,
}

pub(super) fn name_role(kind: K) -> NameRole {
    match kind {
        K::FORK | K::EXIT | K::SIGNAL_GENERATE | K::SIGNAL_DELIVER | K::OOM_KILL => {
            NameRole::Command
        }
        kind if kind >= K::READ && kind <= K::PWRITEV2 => NameRole::File,
        kind if kind >= K::SOCKET && kind <= K::RECVMMSG => NameRole::Address,
        _ => NameRole::Path,
    }
}

/// The arguments, without the descriptor the call acts on, and without those that say nothing.
pub(crate) fn args(event: &Event, arch: &str) -> Vec<(&'static str, Value)> {
    let mut args = life_cycle(event);
    if event.kind.is_syscall() {
        if starts_at_fd(event.kind) && event.args[0] != AT_FDCWD {
            args.push(("dirfd", Value::Number(event.args[0])));
        }
        let named = names(event.kind)
            .into_iter()
            .zip(event.args)
            .filter(|(name, _)| !name.is_empty());
        args.extend(
            named
                .filter_map(|(name, value)| Some((name, value_of(event.kind, name, value, arch)?))),
        );
    }
    args
}

/// All names that [`args`] may give, in alphabetical order.
pub(crate) fn arg_names() -> Vec<&'static str> {
    let of_calls = K::ALL.iter().flat_map(|kind| names(*kind));
    let mut all: Vec<_> = of_calls
        .filter(|name| !name.is_empty())
        .chain(["dirfd"])
        .chain(names(K(u16::MAX)))
        .chain(LIFE_CYCLE_NAMES)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Names that [`life_cycle`] may give.
const LIFE_CYCLE_NAMES: [&str; 13] = [
    "ns_pid",
    "child",
    "exit_code",
    "signal",
    "core_dumped",
    "code",
    "sender",
    "origin",
    "address",
    "disposition",
    "stdin",
    "stdout",
    "stderr",
];

/// Names of `args` of a system call, by position; empty: unused, or the descriptor.
fn names(kind: K) -> [&'static str; 3] {
    match kind {
        K::OPEN | K::OPENAT | K::OPENAT2 => ["", "flags", "mode"],
        K::CREAT => ["", "", "mode"],
        K::EXECVEAT => ["", "at_flags", ""],
        K::CLONE => ["clone_flags", "", ""],
        K::CLOSE_RANGE => ["first", "last", "range_flags"],
        K::DUP3 => ["", "", "fd_flags"],
        K::FCNTL => ["", "command", ""],
        K::PIPE => ["read_end", "write_end", ""],
        K::PIPE2 => ["read_end", "write_end", "fd_flags"],
        K::READ | K::PREAD64 | K::WRITE | K::PWRITE64 => ["", "inode", "count"],
        K::READV | K::PREADV | K::PREADV2 | K::WRITEV | K::PWRITEV | K::PWRITEV2 => {
            ["", "inode", "buffers"]
        }
        K::SOCKET | K::SOCKETPAIR => ["domain", "type", "protocol"],
        K::LISTEN => ["", "backlog", ""],
        K::GETSOCKOPT => ["", "so_error", ""],
        K::SENDTO | K::RECVFROM => ["", "", "count"],
        K::SENDMMSG | K::RECVMMSG => ["", "message", ""],
        K::ACCESS | K::CHMOD | K::MKNOD => ["", "mode", ""],
        K::FACCESSAT | K::FACCESSAT2 | K::FCHMODAT | K::MKNODAT => ["", "", "mode"],
        K::CHOWN | K::LCHOWN => ["", "user", "group"],
        K::FCHOWNAT => ["", "", "user"],
        K::SYMLINKAT => ["", "dirfd", ""],
        K::TRUNCATE | K::FTRUNCATE => ["", "length", ""],
        K::MMAP => ["protection", "length", "map_flags"],
        K::MPROTECT => ["address", "length", "protection"],
        K::FALLOCATE => ["", "fallocate_mode", "offset"],
        K::EPOLL_CREATE1 | K::INOTIFY_INIT1 => ["fd_flags", "", ""],
        K::SETUID => ["user", "", ""],
        K::SETGID => ["group", "", ""],
        K::SETGROUPS => ["groups", "", ""],
        K::SETRESUID => ["real_user", "effective_user", "saved_user"],
        K::SETRESGID => ["real_group", "effective_group", "saved_group"],
        K::SETRLIMIT => ["resource", "", ""],
        K::PRLIMIT64 => ["pid", "resource", ""],
        K::SCHED_SETAFFINITY => ["pid", "", ""],
        K::UNSHARE => ["clone_flags", "", ""],
        K::SETNS => ["", "clone_flags", ""],
        K::BPF => ["command", "", ""],
        K::IO_URING_SETUP => ["entries", "", ""],
        K::SETSOCKOPT => ["", "level", "option"],
        K::KILL => ["pid", "signal", ""],
        kind if kind.name().is_some() => ["", "", ""],
        _ => ["arg0", "arg1", "arg2"],
    }
}

fn value_of(kind: K, name: &str, value: i64, arch: &str) -> Option<Value> {
    Some(Value::Symbol(match name {
        "flags" => open_flags(value, arch),
        "fd_flags" if value != 0 => open_flags(value, arch)
            .trim_start_matches("O_RDONLY|")
            .to_owned(),
        "mode" if kind == K::ACCESS || kind == K::FACCESSAT || kind == K::FACCESSAT2 => {
            access_mode(value)
        }
        "mode" if value != 0 => format!("0{value:o}"),
        "clone_flags" | "map_flags" | "protection" | "address" => format!("{value:#x}"),
        "domain" => u16::try_from(value).ok().and_then(family_name)?.to_owned(),
        "type" => socket_type(value),
        "signal" => Signal::from_ret(value)?.to_string(),
        "so_error" => match u16::try_from(value).ok()? {
            0 => "0".to_owned(),
            errno => crate::decode::Errno(errno).to_string(),
        },
        "mode" | "fd_flags" | "inode" | "protocol" | "range_flags" | "at_flags" if value == 0 => {
            return None;
        }
        _ => return Some(Value::Number(value)),
    }))
}

fn access_mode(mode: i64) -> String {
    let names = [(4, "R_OK"), (2, "W_OK"), (1, "X_OK")];
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| mode & bit != 0)
        .map(|&(_, name)| name)
        .collect();
    if set.is_empty() {
        "F_OK".to_owned()
    } else {
        set.join("|")
    }
}

fn life_cycle(event: &Event) -> Vec<(&'static str, Value)> {
    let symbol = |text: String| Value::Symbol(text);
    let [first, second, third] = event.args;
    match event.kind {
        K::EXEC => vec![("ns_pid", Value::Number(first))],
        K::FORK => vec![
            ("child", Value::Number(event.ret)),
            ("ns_pid", Value::Number(first)),
        ],
        K::EXIT => match ExitStatus::from_wait(event.ret as i32) {
            ExitStatus::Code(code) => vec![("exit_code", Value::Number(code.into()))],
            ExitStatus::Signal { signal, core } => vec![
                ("signal", symbol(Signal(signal).to_string())),
                ("core_dumped", Value::Flag(core)),
            ],
        },
        K::SIGNAL_GENERATE | K::SIGNAL_DELIVER => {
            let signal = Signal::from_ret(event.ret);
            let code = signal
                .and_then(|signal| signal.code(first))
                .map(|(name, _)| symbol(name.to_owned()));
            let mut args = vec![
                (
                    "signal",
                    signal.map_or(Value::Number(event.ret), |signal| {
                        symbol(signal.to_string())
                    }),
                ),
                ("code", code.unwrap_or(Value::Number(first))),
                ("sender", Value::Number(second)),
            ];
            if event.kind == K::SIGNAL_GENERATE {
                args.push(("origin", symbol(origin(third).to_owned())));
                let address = event
                    .data
                    .first_chunk::<8>()
                    .map(|bytes| u64::from_le_bytes(*bytes));
                args.extend(address.map(|address| ("address", symbol(format!("{address:#x}")))));
            } else {
                args.push(("disposition", symbol(disposition(third).to_owned())));
            }
            args
        }
        K::STDIO => stdio(event)
            .map(|(name, inode, fd_type)| {
                let text = fd_type.map(|fd_type| format!("{fd_type}:{inode}"));
                (name, symbol(text.unwrap_or_else(|| "closed".to_owned())))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Name, inode and type of the standard streams; no type: closed.
fn stdio(event: &Event) -> impl Iterator<Item = (&'static str, u64, Option<&'static str>)> {
    let entries = event.data.chunks_exact(16).filter_map(|entry| {
        let (inode, mode) = entry.split_first_chunk::<8>()?;
        let mode = u64::from_le_bytes(*mode.first_chunk::<8>()?);
        let fd_type = type_name(FdType((mode >> 12 & 0xf) as u8));
        Some((u64::from_le_bytes(*inode), (mode != 0).then_some(fd_type)))
    });
    let names = ["stdin", "stdout", "stderr"].into_iter();
    names
        .zip(entries)
        .map(|(name, (inode, fd_type))| (name, inode, fd_type))
}

/// `stdin is closed, stdout is a pipe, stderr is the same pipe as stdout`.
pub(super) fn stdio_in_words(event: &Event) -> String {
    let streams: Vec<_> = stdio(event).collect();
    let words = streams
        .iter()
        .enumerate()
        .map(|(at, &(name, inode, fd_type))| {
            let Some(fd_type) = fd_type else {
                return format!("{name} is closed");
            };
            let same = |&&(_, other, other_type): &&(_, u64, _)| {
                other == inode && other_type == Some(fd_type)
            };
            match streams[..at].iter().rev().find(same) {
                Some((other, ..)) => format!("{name} is the same {fd_type} as {other}"),
                None => format!("{name} is a {fd_type}"),
            }
        });
    words.collect::<Vec<_>>().join(", ")
}

fn origin(code: i64) -> &'static str {
    match SignalOrigin::from_code(code) {
        Some(SignalOrigin::Inside) => "inside",
        Some(SignalOrigin::Outside) => "outside",
        Some(SignalOrigin::Kernel) => "kernel",
        None => "unknown",
    }
}

fn disposition(code: i64) -> &'static str {
    match SignalDisposition::from_code(code) {
        Some(SignalDisposition::Default) => "default",
        Some(SignalDisposition::Ignored) => "ignored",
        Some(SignalDisposition::Caught) => "caught",
        None => "unknown",
    }
}
