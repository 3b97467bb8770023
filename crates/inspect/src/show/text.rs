//! One line of text for each event: `number time pid/tid process call(arguments) = result payload [flags]`.

use std::fmt::Write as _;

use capture_format::{BootTime, Damage, Event, EventFlags, EventKind, Host, Run, Tid};

use super::args::{Argument, args, is_group_exit, push_errno, stdio_in_words};
use super::clock::Clock;
use super::number::{push_left, push_number, push_right, push_wide, push_zeros};
use super::{Lines, Options};
use events::context::Seen;
use events::decode::{Errno, Message, SockAddr};
use events::escape::{escaped, escaped_to, is_text};
use events::fds::{Fd, NameRole, has_descriptor, is_on_socket, name_role, type_name};

/// How many bytes of a binary payload are shown.
const MAX_HEX: usize = 16;

/// Shows the events of one run.
pub(crate) struct Printer<'a> {
    host: &'a Host,
    run: &'a Run,
    options: &'a Options,
    begun: bool,
    clock: Clock,
    /// Buffer for the arguments of an event.
    args: Vec<Argument>,
}

impl Lines for Printer<'_> {
    fn begin(&mut self, out: &mut String) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        out.push_str("run ");
        push_number(out, self.run.number);
        out.push('\n');
    }

    fn event(&mut self, out: &mut String, seen: &Seen<'_>) {
        self.line(out, seen);
        out.push('\n');
    }

    fn missing(&mut self, out: &mut String, damage: &Damage) {
        let _ = writeln!(out, "  ---- {damage}");
    }
}

/// Appends the pid, and the tid if it is different.
fn who(out: &mut String, event: &Event) {
    if event.tid == Tid::first_of(event.pid) {
        return push_wide(out, event.pid, 7);
    }
    let (mut pid, mut tid) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (pid, tid) = (pid.format(event.pid), tid.format(event.tid.0));
    push_right(out, pid, 7usize.saturating_sub(1 + tid.len()));
    out.push('/');
    out.push_str(tid);
}

/// What happened, without number, time and process: `openat("/etc/x", flags=O_RDONLY) = -1 ENOENT (No such file or
/// directory)`.
pub(crate) fn call(seen: &Seen<'_>, host: &Host) -> String {
    let (run, options) = (Run::default(), Options::default());
    let mut printer = Printer::new(host, &run, &options);
    let mut line = String::new();
    printer.call(&mut line, seen.event, seen.fd.as_ref(), &seen.path);
    line
}

impl<'a> Printer<'a> {
    pub(crate) fn new(host: &'a Host, run: &'a Run, options: &'a Options) -> Self {
        Self {
            host,
            run,
            options,
            begun: false,
            clock: Clock::new(host),
            args: Vec::new(),
        }
    }

    pub(crate) fn time(&mut self, out: &mut String, time: BootTime) {
        if self.options.time_of_day {
            if !self.clock.push(out, time) {
                let _ = write!(out, "boot+{}ns", time.0);
            }
            return;
        }
        let since = time.offset_from(self.run.start);
        out.push(if since < 0 { '-' } else { '+' });
        // Both times have 64 bits, so their difference fits.
        let since = since.unsigned_abs() as u64;
        push_number(out, since / 1_000_000_000);
        out.push('.');
        push_zeros(out, since / 1_000 % 1_000_000, 6);
    }

    pub(super) fn line(&mut self, out: &mut String, seen: &Seen<'_>) {
        push_wide(out, seen.number, 6);
        out.push(' ');
        self.time(out, seen.event.time);
        out.push(' ');
        who(out, seen.event);
        out.push(' ');
        push_left(out, &seen.program.label, 12);
        out.push(' ');
        self.what(out, seen);
    }

    /// What happened: the line without number, time and process.
    pub(crate) fn what(&mut self, out: &mut String, seen: &Seen<'_>) {
        self.call(out, seen.event, seen.fd.as_ref(), &seen.path);
        if is_group_exit(seen.event) {
            out.push_str(" [group exit: the whole process ends, and this thread with it]");
        }
        if seen.event.flags == EventFlags::default() {
            return;
        }
        for (flag, text) in FLAGS {
            if seen.event.flags.contains(*flag) {
                let _ = write!(out, " [{text}]");
            }
        }
    }

    fn call(&mut self, line: &mut String, event: &Event, fd: Option<&Fd>, path: &[u8]) {
        match event.kind.name() {
            Some(name) => line.push_str(name),
            None => drop(write!(line, "kind_{}", event.kind.0)),
        }
        line.push('(');
        let mut parts = Parts::default();
        if has_descriptor(event) {
            parts.next(line);
            descriptor(line, event, fd);
        }
        if !event.name.is_empty() && event.kind != EventKind::INTERRUPTED {
            name(line, &mut parts, event, fd, path);
        }
        if event.kind == EventKind::STDIO {
            parts.next(line);
            line.push_str(&stdio_in_words(event));
        } else {
            args(event, &mut self.args);
            if is_group_exit(event) {
                // Nobody sent this signal. The recorded sender would look like a process that killed it.
                self.args.retain(|(name, _)| *name == "signal");
            }
            for (name, value) in &self.args {
                parts.next(line);
                line.push_str(name);
                line.push('=');
                value.push_to(line, &self.host.arch);
            }
        }
        line.push(')');
        if event.kind.is_syscall() {
            result(line, event.ret);
        }
        if !event.data.is_empty() && !event.kind.has_numbers() {
            payload(line, event, fd, self.options.payload);
        }
    }
}

/// Writes `, ` between the parts of a list.
#[derive(Default)]
struct Parts {
    begun: bool,
}

impl Parts {
    fn next(&mut self, line: &mut String) {
        if std::mem::replace(&mut self.begun, true) {
            line.push_str(", ");
        }
    }
}

fn name(line: &mut String, parts: &mut Parts, event: &Event, fd: Option<&Fd>, path: &[u8]) {
    match name_role(event) {
        NameRole::Path => {
            parts.next(line);
            line.push('"');
            escaped(path).push_to(line);
            line.push('"');
        }
        NameRole::Address
            if event.kind.class().moves_bytes() && fd.is_some_and(|fd| fd.peer().is_some()) => {}
        NameRole::Address => {
            if let Some(address) = SockAddr::parse(&event.name) {
                parts.next(line);
                address.push_to(line);
            }
        }
        NameRole::Command if event.kind == EventKind::SIGNAL_GENERATE => {
            parts.next(line);
            line.push_str("from=");
            escaped(&event.name).push_to(line);
        }
        NameRole::Lane => {
            parts.next(line);
            line.push_str("lane=");
            escaped(&event.name).push_to(line);
        }
        NameRole::Command | NameRole::File => {}
    }
}

/// ` = 3`, ` = -1 ENOENT (No such file or directory)`.
fn result(line: &mut String, ret: i64) {
    match Errno::from_ret(ret) {
        Some(errno) => {
            line.push_str(" = -1 ");
            push_errno(line, errno);
            line.push_str(" (");
            line.push_str(errno.text());
            line.push(')');
        }
        None => {
            line.push_str(" = ");
            push_number(line, ret);
        }
    }
}

fn payload(line: &mut String, event: &Event, fd: Option<&Fd>, limit: usize) {
    if matches!(
        event.kind,
        EventKind::EXEC | EventKind::EXECVE | EventKind::EXECVEAT
    ) {
        let args = event.data.strip_suffix(b"\0").unwrap_or(&event.data);
        let mut parts = Parts::default();
        line.push_str(" [");
        for arg in args.split(|&b| b == 0) {
            parts.next(line);
            line.push('"');
            escaped_to(arg, limit).push_to(line);
            line.push('"');
        }
        line.push(']');
        return;
    }
    let dns = is_on_socket(event, fd);
    if let Some(message) = dns.then(|| Message::parse_framed(&event.data)).flatten() {
        return exchange(line, &message, limit);
    }
    if is_text(&event.data) {
        line.push_str(" \"");
        escaped_to(&event.data, limit).push_to(line);
        line.push('"');
    } else {
        binary(line, &event.data);
    }
}

/// ` DNS 7 A flask?`, ` DNS 7 A flask: NXDOMAIN`.
fn exchange(line: &mut String, message: &Message, limit: usize) {
    let name = escaped(message.name.as_bytes());
    let _ = match message.response {
        false => write!(line, " DNS {} {} {name}?", message.id, message.qtype),
        true => {
            let answers = message.answers.join(", ");
            let answers = escaped_to(answers.as_bytes(), limit);
            write!(
                line,
                " DNS {} {} {name}: {} {answers}",
                message.id, message.qtype, message.rcode
            )
        }
    };
    line.truncate(line.trim_end().len());
}

/// ` binary, 832 bytes: 7f 45 4c 46 …`
fn binary(line: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    line.push_str(" binary, ");
    push_number(line, bytes.len());
    line.push_str(if bytes.len() == 1 {
        " byte:"
    } else {
        " bytes:"
    });
    for byte in bytes.iter().take(MAX_HEX) {
        line.push(' ');
        line.push(DIGITS[usize::from(byte >> 4)].into());
        line.push(DIGITS[usize::from(byte & 15)].into());
    }
    if bytes.len() > MAX_HEX {
        line.push_str(" …");
    }
}

/// `5 /etc/resolv.conf`, `7 (opened before the recording)`.
fn descriptor(line: &mut String, event: &Event, fd: Option<&Fd>) {
    push_number(line, event.args[0]);
    line.push(' ');
    match fd {
        Some(fd) => fd.push_to(line),
        None if event.fd_type.0 != 0 => line.push_str(type_name(event.fd_type)),
        None => line.push_str("(opened before the recording)"),
    }
}

const FLAGS: &[(EventFlags, &str)] = &[
    (EventFlags::TORN, "torn"),
    (EventFlags::FAULT, "unreadable"),
    (EventFlags::TRUNCATED, "cut"),
    (EventFlags::NAME_TRUNCATED, "name cut"),
    (EventFlags::REDACTED, "redacted"),
    (EventFlags::ADOPTED, "was so before"),
];
