//! One line of text an event: `number time pid/tid process call(arguments) = result payload [flags]`.

use std::fmt::Write as _;
use std::io::{self, Write};

use capture_format::{Damage, Event, EventFlags, EventKind, Host, Run};

use super::Options;
use super::args::{NameRole, args, name_role, stdio_in_words};
use crate::context::Seen;
use crate::decode::time::time_of_day;
use crate::decode::{Errno, Message, SockAddr};
use crate::escape::{escaped, escaped_to, is_text};
use crate::fds::{Fd, acts_on_fd, is_on_socket, type_name};

/// Bytes of a binary payload that are shown.
const MAX_HEX: usize = 16;

/// Shows the events of one run.
pub(super) struct Printer<'a> {
    host: &'a Host,
    run: &'a Run,
    options: &'a Options,
    begun: bool,
}

impl super::Printer for Printer<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            writeln!(out, "run {}", self.run.number)?;
        }
        Ok(())
    }

    fn event(&mut self, seen: &Seen<'_>, out: &mut dyn Write) -> io::Result<()> {
        self.begin(out)?;
        writeln!(out, "{}", self.line(seen))
    }

    fn damage(&mut self, damage: &Damage, out: &mut dyn Write) -> io::Result<()> {
        self.begin(out)?;
        writeln!(out, "  ---- {damage}")
    }
}

impl<'a> Printer<'a> {
    pub(super) fn new(host: &'a Host, run: &'a Run, options: &'a Options) -> Self {
        Self {
            host,
            run,
            options,
            begun: false,
        }
    }

    pub(super) fn line(&self, seen: &Seen<'_>) -> String {
        let Seen {
            number,
            event,
            program,
            fd,
            path,
        } = seen;
        let process = &program.label;
        let who = if event.tid == event.pid {
            event.pid.to_string()
        } else {
            format!("{}/{}", event.pid, event.tid)
        };
        let mut line = format!("{number:>6} {} {who:>7} {process:<12} ", self.time(event));
        self.call(&mut line, event, fd.as_ref(), path);
        for (flag, text) in FLAGS {
            if event.flags.contains(*flag) {
                let _ = write!(line, " [{text}]");
            }
        }
        line
    }

    fn time(&self, event: &Event) -> String {
        if self.options.time_of_day {
            return time_of_day(event.time, self.host)
                .unwrap_or_else(|| format!("boot+{}ns", event.time));
        }
        let since = i128::from(event.time) - i128::from(self.run.start);
        let (sign, since) = (if since < 0 { '-' } else { '+' }, since.unsigned_abs());
        format!(
            "{sign}{}.{:06}",
            since / 1_000_000_000,
            since / 1_000 % 1_000_000
        )
    }

    fn call(&self, line: &mut String, event: &Event, fd: Option<&Fd>, path: &[u8]) {
        match event.kind.name() {
            Some(name) => line.push_str(name),
            None => drop(write!(line, "kind_{}", event.kind.0)),
        }
        let mut parts: Vec<String> = Vec::new();
        if acts_on_fd(event.kind) {
            parts.push(descriptor(event, fd));
        }
        if !event.name.is_empty() {
            match name_role(event.kind) {
                NameRole::Path => parts.push(format!("\"{}\"", escaped(path))),
                NameRole::Address
                    if event.kind > EventKind::GETSOCKOPT
                        && fd.is_some_and(|fd| fd.peer().is_some()) => {}
                NameRole::Address => {
                    parts.extend(SockAddr::parse(&event.name).map(|address| address.to_string()))
                }
                NameRole::Command if event.kind == EventKind::SIGNAL_GENERATE => {
                    parts.push(format!("from={}", escaped(&event.name)));
                }
                NameRole::Command | NameRole::File => {}
            }
        }
        match event.kind {
            EventKind::STDIO => parts.push(stdio_in_words(event)),
            _ => parts.extend(
                args(event, &self.host.arch)
                    .into_iter()
                    .map(|(name, value)| format!("{name}={value}")),
            ),
        }
        let _ = write!(line, "({})", parts.join(", "));
        if event.kind.is_syscall() {
            let _ = match Errno::from_ret(event.ret) {
                Some(errno) => write!(line, " = -1 {errno} ({})", errno.text()),
                None => write!(line, " = {}", event.ret),
            };
        }
        self.payload(line, event, fd);
    }

    fn payload(&self, line: &mut String, event: &Event, fd: Option<&Fd>) {
        if event.data.is_empty()
            || matches!(event.kind, EventKind::STDIO | EventKind::SIGNAL_GENERATE)
        {
            return;
        }
        let limit = self.options.payload;
        if matches!(
            event.kind,
            EventKind::EXEC | EventKind::EXECVE | EventKind::EXECVEAT
        ) {
            let args = event.data.strip_suffix(b"\0").unwrap_or(&event.data);
            let args: Vec<String> = args
                .split(|&b| b == 0)
                .map(|arg| format!("\"{}\"", escaped_to(arg, limit)))
                .collect();
            let _ = write!(line, " [{}]", args.join(", "));
            return;
        }
        let dns = is_on_socket(event, fd);
        if let Some(message) = dns.then(|| Message::parse_framed(&event.data)).flatten() {
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
            return;
        }
        if is_text(&event.data) {
            let _ = write!(line, " \"{}\"", escaped_to(&event.data, limit));
        } else {
            binary(line, &event.data);
        }
    }
}

/// ` binary, 832 bytes: 7f 45 4c 46 …`
fn binary(line: &mut String, bytes: &[u8]) {
    let plural = if bytes.len() == 1 { "" } else { "s" };
    let _ = write!(line, " binary, {} byte{plural}:", bytes.len());
    for byte in bytes.iter().take(MAX_HEX) {
        let _ = write!(line, " {byte:02x}");
    }
    if bytes.len() > MAX_HEX {
        line.push_str(" …");
    }
}

/// `5 /etc/resolv.conf`, `7 (opened before the recording)`.
fn descriptor(event: &Event, fd: Option<&Fd>) -> String {
    let number = event.args[0];
    match fd {
        Some(fd) => format!("{number} {fd}"),
        None if event.fd_type.0 != 0 => format!("{number} {}", type_name(event.fd_type)),
        None => format!("{number} (opened before the recording)"),
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
