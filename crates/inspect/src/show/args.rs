//! The arguments of events by name, for text and JSON alike.

use std::fmt::Write;

use capture_format::{
    Event, EventKind as K, ExitStatus, FdType, OomScope, SignalDisposition, SignalOrigin,
};

use super::number::push_number;
use events::decode::interrupted::Doing;
use events::decode::open_flags::push_open_flags;
use events::decode::sockaddr::{family_name, socket_type};
use events::decode::{Errno, Interrupted, Signal};
use events::fds::{starts_at_fd, type_name};

const AT_FDCWD: i64 = -100;

/// The value of an argument. It contains no text of the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(i64),
    Flag(bool),
    Word(&'static str),
    OpenFlags(i64),
    /// Flags without an access mode.
    FdFlags(i64),
    AccessMode(i64),
    Octal(i64),
    Hexadecimal(u64),
    SocketType(i64),
    Signal(Signal),
    Call(Doing),
    /// 0: no error.
    Errno(u16),
    Stream {
        fd_type: &'static str,
        inode: u64,
    },
}

impl Value {
    /// Whether the value is more than a number or a boolean: then it is a string in JSON.
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Self::Number(_) | Self::Flag(_))
    }

    /// Appends the value; `arch` says what the bits of flags mean.
    pub(crate) fn push_to(self, out: &mut String, arch: &str) {
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Number(number) => return push_number(out, number),
            Self::Flag(flag) => return out.push_str(if flag { "true" } else { "false" }),
            Self::Word(word) => return out.push_str(word),
            Self::OpenFlags(flags) => return push_open_flags(out, flags, arch),
            Self::FdFlags(flags) => return push_fd_flags(out, flags, arch),
            Self::AccessMode(mode) => return push_access_mode(out, mode),
            Self::Octal(number) => write!(out, "0{number:o}"),
            Self::Hexadecimal(number) => write!(out, "{number:#x}"),
            Self::SocketType(number) => return out.push_str(&socket_type(number)),
            Self::Signal(signal) => write!(out, "{signal}"),
            Self::Call(doing) => return out.push_str(&doing.in_words(arch)),
            Self::Errno(0) => return out.push('0'),
            Self::Errno(errno) => return push_errno(out, Errno(errno)),
            Self::Stream { fd_type, inode } => write!(out, "{fd_type}:{inode}"),
        };
    }
}

/// Appends the symbol of an error number, as its [`Display`](std::fmt::Display) writes it.
pub(super) fn push_errno(out: &mut String, errno: Errno) {
    match errno.name() {
        Some(name) => out.push_str(name),
        None => drop(write!(out, "{errno}")),
    }
}

/// The name of an argument and its value.
pub(crate) type Argument = (&'static str, Value);

/// Fills `out` with the arguments, except the descriptor that the call acts on and those that say nothing.
pub(crate) fn args(event: &Event, out: &mut Vec<Argument>) {
    out.clear();
    if !event.kind.is_syscall() {
        return life_cycle(event, out);
    }
    if starts_at_fd(event.kind) && event.args[0] != AT_FDCWD {
        out.push(("dirfd", Value::Number(event.args[0])));
    }
    for (name, value) in names(event.kind).into_iter().zip(event.args) {
        if !name.is_empty()
            && let Some(value) = value_of(event.kind, name, value)
        {
            out.push((name, value));
        }
    }
}

/// All names that [`args`] may return, in alphabetical order.
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

/// All names that [`life_cycle`] may return.
const LIFE_CYCLE_NAMES: [&str; 20] = [
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
    "group_exit",
    "overwritten",
    "ran_out",
    "limit",
    "stdin",
    "stdout",
    "stderr",
    "call",
    "waited_ms",
    "threads",
];

/// Names of the `args` of a system call, by position; empty if unused, or if it is the descriptor.
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
        K::FLOCK => ["", "operation", ""],
        kind if kind.name().is_some() => ["", "", ""],
        _ => ["arg0", "arg1", "arg2"],
    }
}

fn value_of(kind: K, name: &str, value: i64) -> Option<Value> {
    Some(match name {
        "flags" => Value::OpenFlags(value),
        "fd_flags" if value != 0 => Value::FdFlags(value),
        "mode" if kind == K::ACCESS || kind == K::FACCESSAT || kind == K::FACCESSAT2 => {
            Value::AccessMode(value)
        }
        "mode" if value != 0 => Value::Octal(value),
        "clone_flags" | "map_flags" | "protection" | "address" => Value::Hexadecimal(value as u64),
        "domain" => Value::Word(u16::try_from(value).ok().and_then(family_name)?),
        "type" => Value::SocketType(value),
        "signal" => Value::Signal(Signal::from_ret(value)?),
        "so_error" => Value::Errno(u16::try_from(value).ok()?),
        "mode" | "fd_flags" | "inode" | "protocol" | "range_flags" | "at_flags" if value == 0 => {
            return None;
        }
        _ => Value::Number(value),
    })
}

fn push_fd_flags(out: &mut String, flags: i64, arch: &str) {
    let start = out.len();
    push_open_flags(out, flags, arch);
    let access = "O_RDONLY|";
    if out[start..].starts_with(access) {
        out.drain(start..start + access.len());
    }
}

fn push_access_mode(out: &mut String, mode: i64) {
    let names = [(4, "R_OK"), (2, "W_OK"), (1, "X_OK")];
    let mut separator = "";
    for (_, name) in names.into_iter().filter(|(bit, _)| mode & bit != 0) {
        out.push_str(separator);
        out.push_str(name);
        separator = "|";
    }
    if separator.is_empty() {
        out.push_str("F_OK");
    }
}

fn life_cycle(event: &Event, out: &mut Vec<Argument>) {
    let [first, second, third] = event.args;
    match event.kind {
        K::EXEC => out.push(("ns_pid", Value::Number(first))),
        K::FORK => out.extend([
            ("child", Value::Number(event.ret)),
            ("ns_pid", Value::Number(first)),
        ]),
        K::EXIT => match ExitStatus::from_wait(event.ret as i32) {
            ExitStatus::Code(code) => out.push(("exit_code", Value::Number(code.into()))),
            ExitStatus::Signal { signal, core } => out.extend([
                ("signal", Value::Signal(Signal(signal))),
                ("core_dumped", Value::Flag(core)),
            ]),
        },
        K::SIGNAL_GENERATE | K::SIGNAL_DELIVER => {
            let signal = Signal::from_ret(event.ret);
            let code = signal.and_then(|signal| signal.code(first));
            out.extend([
                (
                    "signal",
                    signal.map_or(Value::Number(event.ret), Value::Signal),
                ),
                (
                    "code",
                    code.map_or(Value::Number(first), |(name, _)| Value::Word(name)),
                ),
                ("sender", Value::Number(second)),
            ]);
            if event.kind == K::SIGNAL_GENERATE {
                out.push(("origin", Value::Word(origin(third))));
                let address = event.data.first_chunk::<8>();
                out.extend(
                    address.map(|address| {
                        ("address", Value::Hexadecimal(u64::from_le_bytes(*address)))
                    }),
                );
            } else {
                out.push(("disposition", Value::Word(disposition(third))));
                if is_group_exit(event) {
                    out.push(("group_exit", Value::Flag(true)));
                }
            }
        }
        K::GAP => out.push(("overwritten", Value::Number(first))),
        K::OOM_KILL => {
            let scope = OomScope::from_code(first).map(ran_out);
            out.extend(scope.map(|word| ("ran_out", Value::Word(word))));
            out.extend((second > 0).then_some(("limit", Value::Number(second))));
        }
        K::INTERRUPTED => {
            let Some(it) = Interrupted::of(event) else {
                return;
            };
            out.push(("call", Value::Call(it.call)));
            let waited = it.waited.map(|waited| (waited / 1_000_000) as i64);
            out.extend(waited.map(|waited| ("waited_ms", Value::Number(waited))));
            out.extend(it.signal.map(|signal| ("signal", Value::Signal(signal))));
            if it.threads > 1 {
                out.push(("threads", Value::Number(it.threads as i64)));
            }
        }
        K::STDIO => out.extend(stdio(event).map(|(name, inode, fd_type)| {
            let closed = Value::Word("closed");
            let stream = |fd_type| Value::Stream { fd_type, inode };
            (name, fd_type.map_or(closed, stream))
        })),
        _ => {}
    }
}

/// Which cgroup had no memory left.
fn ran_out(scope: OomScope) -> &'static str {
    match scope {
        OomScope::Inside => "inside",
        OomScope::Container => "container",
        OomScope::Parent => "parent",
        OomScope::Above => "above",
        OomScope::Machine => "machine",
    }
}

/// Name, inode and type of the standard streams; without a type the stream is closed.
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

/// Whether the SIGKILL only means that a thread's whole process ends: by exit_group(2), by execve(2) in another thread,
/// or by a signal. The kernel then delivers to each thread a SIGKILL that nobody sent. If somebody did send SIGKILL,
/// this is also all that is delivered.
pub(super) fn is_group_exit(event: &Event) -> bool {
    event.kind == K::SIGNAL_DELIVER && Signal::from_ret(event.ret) == Some(Signal::KILL)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_of_what_is_no_call_can_be_filtered() {
        let known = arg_names();
        let mut shown = 0;
        for kind in K::ALL.iter().filter(|kind| !kind.is_syscall()) {
            // An exit by a code, a signal, and SIGKILL; all data is there.
            for ret in [9, 11, 256] {
                let event = Event {
                    kind: *kind,
                    ret,
                    args: [1, 2, 3],
                    data: vec![1; 72].into(),
                    ..Event::default()
                };
                let mut all = Vec::new();
                args(&event, &mut all);
                shown += all.len();
                let unknown = all.iter().find(|(name, _)| !known.contains(name));
                assert!(unknown.is_none(), "{kind:?}: {unknown:?}");
            }
        }
        assert!(shown > 30, "{shown}");
    }
}
