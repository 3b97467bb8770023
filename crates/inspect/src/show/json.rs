//! One JSON object for each event. docs/json.md says what the fields mean and which of them stay.
//!
//! The JSON is written by hand into one buffer: serialising an object that is made for each event takes three times as
//! long.

use std::fmt::Write as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use capture_format::{BootTime, Damage, Event, EventFlags, EventKind, Host, Run};

use super::Lines;
use super::args::{Argument, args, push_errno};
use super::clock::Clock;
use super::number::push_number;
use events::context::Seen;
use events::decode::{Errno, Message, SockAddr};
use events::escape::{is_harmful, is_printable, prefix};
use events::fds::{Fd, NameRole, Target, has_descriptor, is_on_socket, name_role, type_name};

/// Shows the events of one run.
pub(super) struct Printer<'a> {
    host: &'a Host,
    run: &'a Run,
    clock: Clock,
    /// Buffers for the arguments of an event, and for text before it becomes a JSON string.
    args: Vec<Argument>,
    text: String,
}

impl Lines for Printer<'_> {
    fn begin(&mut self, _: &mut String) {}

    fn event(&mut self, out: &mut String, seen: &Seen<'_>) {
        let event = seen.event;
        let mut line = Object::begin(out);
        push_number(line.key("number"), seen.number);
        push_number(line.key("run"), self.run.number);
        push_number(line.key("time_ns"), event.time.0);
        self.time(&mut line, event.time);
        push_number(line.key("pid"), event.pid);
        push_number(line.key("tid"), event.tid.0);
        push_string(line.key("process"), &seen.program.label);
        match event.kind.name() {
            Some(name) => push_string(line.key("event"), name),
            None => drop(write!(line.key("event"), "\"kind_{}\"", event.kind.0)),
        }
        self.args(line.key("args"), event);
        if has_descriptor(event) {
            self.descriptor(line.key("fd"), event, seen.fd.as_ref());
        }
        if event.kind.is_syscall() {
            push_number(line.key("ret"), event.ret);
            if let Some(errno) = Errno::from_ret(event.ret) {
                let out = line.key("errno");
                out.push('"');
                push_errno(out, errno);
                out.push('"');
            }
        }
        self.name(&mut line, event, &seen.path);
        payload(&mut line, event, seen.fd.as_ref());
        flags(&mut line, event.flags);
        line.end();
        out.push('\n');
    }

    fn missing(&mut self, out: &mut String, damage: &Damage) {
        let mut line = Object::begin(out);
        push_number(line.key("run"), self.run.number);
        push_string(line.key("damage"), &damage.to_string());
        line.end();
        out.push('\n');
    }
}

impl<'a> Printer<'a> {
    pub(super) fn new(host: &'a Host, run: &'a Run) -> Self {
        Self {
            host,
            run,
            clock: Clock::new(host),
            args: Vec::new(),
            text: String::new(),
        }
    }

    fn time(&mut self, line: &mut Object<'_>, time: BootTime) {
        self.text.clear();
        if self.clock.push(&mut self.text, time) {
            push_string(line.key("time"), &self.text);
        }
    }

    /// Writes the arguments by name. If two have the same name, the later one counts.
    fn args(&mut self, out: &mut String, event: &Event) {
        args(event, &mut self.args);
        self.args.sort_by_key(|&(name, _)| name);
        let mut object = Object::begin(out);
        for (at, &(name, value)) in self.args.iter().enumerate() {
            if self.args.get(at + 1).is_some_and(|&(next, _)| next == name) {
                continue;
            }
            let out = object.key(name);
            let quote = if value.is_text() { "\"" } else { "" };
            out.push_str(quote);
            value.push_to(out, &self.host.arch);
            out.push_str(quote);
        }
        object.end();
    }

    fn descriptor(&mut self, out: &mut String, event: &Event, fd: Option<&Fd>) {
        let mut object = Object::begin(out);
        push_number(object.key("number"), event.args[0]);
        push_string(object.key("type"), type_name(event.fd_type));
        if let Some(fd) = fd {
            if let Target::Path(path) = &fd.target {
                push_string(object.key("path"), &String::from_utf8_lossy(path));
            }
            if let Some(peer) = fd.peer() {
                self.address(object.key("peer"), peer);
            }
            if let Some(stdio) = fd.stdio {
                push_string(object.key("stdio"), stdio.name());
            }
        }
        object.end();
    }

    fn address(&mut self, out: &mut String, address: &SockAddr) {
        self.text.clear();
        address.push_to(&mut self.text);
        push_string(out, &self.text);
    }

    fn name(&mut self, line: &mut Object<'_>, event: &Event, path: &[u8]) {
        if event.name.is_empty() {
            return;
        }
        let role = name_role(event);
        if role == NameRole::Address {
            if let Some(address) = SockAddr::parse(&event.name) {
                self.address(line.key("address"), &address);
            }
            return;
        }
        push_string(line.key("name"), &String::from_utf8_lossy(&event.name));
        if role == NameRole::Path && !path.is_empty() {
            push_string(line.key("path"), &String::from_utf8_lossy(path));
        }
    }
}

fn payload(line: &mut Object<'_>, event: &Event, fd: Option<&Fd>) {
    let executes = matches!(
        event.kind,
        EventKind::EXEC | EventKind::EXECVE | EventKind::EXECVEAT
    );
    if executes {
        argv(line.key("argv"), &event.data);
    }
    if event.data.is_empty() {
        return;
    }
    let is_dns = is_on_socket(event, fd);
    if let Some(message) = is_dns.then(|| Message::parse_framed(&event.data)).flatten() {
        dns(line.key("dns"), &message);
    }
    if !executes && !event.kind.has_numbers() {
        data(line.key("data"), event);
    }
}

fn argv(out: &mut String, data: &[u8]) {
    out.push('[');
    let args = data.split_inclusive(|&b| b == 0);
    for (at, arg) in args.enumerate() {
        if at > 0 {
            out.push(',');
        }
        let arg = arg.strip_suffix(b"\0").unwrap_or(arg);
        push_string(out, &String::from_utf8_lossy(arg));
    }
    out.push(']');
}

fn dns(out: &mut String, message: &Message) {
    let mut object = Object::begin(out);
    push_number(object.key("id"), message.id);
    push_flag(object.key("response"), message.response);
    push_string(object.key("name"), &message.name);
    push_string(object.key("type"), &message.qtype);
    if message.response {
        push_string(object.key("rcode"), &message.rcode.to_string());
    }
    if !message.answers.is_empty() {
        let out = object.key("answers");
        out.push('[');
        for (at, answer) in message.answers.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            push_string(out, answer);
        }
        out.push(']');
    }
    object.end();
}

/// Writes text if the bytes are UTF-8, where the last character may be cut; else Base64.
fn data(out: &mut String, event: &Event) {
    let mut object = Object::begin(out);
    match std::str::from_utf8(&event.data) {
        Ok(text) => push_string(object.key("text"), text),
        Err(error)
            if error.error_len().is_none() && event.flags.contains(EventFlags::TRUNCATED) =>
        {
            let whole = std::str::from_utf8(&event.data[..error.valid_up_to()]);
            push_string(object.key("text"), whole.unwrap_or_default());
        }
        Err(_) => {
            let out = object.key("base64");
            out.push('"');
            BASE64_STANDARD.encode_string(&event.data, out);
            out.push('"');
        }
    }
    object.end();
}

fn flags(line: &mut Object<'_>, flags: EventFlags) {
    if flags == EventFlags::default() {
        return;
    }
    for (flag, name) in [
        (EventFlags::TRUNCATED, "truncated"),
        (EventFlags::NAME_TRUNCATED, "name_truncated"),
        (EventFlags::TORN, "torn"),
        (EventFlags::FAULT, "unreadable"),
        (EventFlags::REDACTED, "redacted"),
        (EventFlags::ADOPTED, "adopted"),
    ] {
        if flags.contains(flag) {
            push_flag(line.key(name), true);
        }
    }
}

/// A JSON object that is being written.
struct Object<'o> {
    out: &'o mut String,
    begun: bool,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, begun: false }
    }

    /// Writes a key and returns the place for its value.
    fn key(&mut self, key: &'static str) -> &mut String {
        self.out.push_str(if self.begun { ",\"" } else { "\"" });
        self.begun = true;
        self.out.push_str(key);
        self.out.push_str("\":");
        self.out
    }

    fn end(self) {
        self.out.push('}');
    }
}

fn push_flag(out: &mut String, flag: bool) {
    out.push_str(if flag { "true" } else { "false" });
}

/// Appends a string. Characters that a terminal would act on or hide are escaped, too.
fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while !rest.is_empty() {
        let (clean, after) = rest.split_at(prefix(rest.as_bytes(), is_clean));
        out.push_str(clean);
        let mut chars = after.chars();
        if let Some(c) = chars.next() {
            push_char(out, c);
        }
        rest = chars.as_str();
    }
    out.push('"');
}

/// Whether the byte is a character that needs no escape.
fn is_clean(byte: u8) -> bool {
    is_printable(byte) & (byte != b'"') & (byte != b'\\')
}

fn push_char(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        c if is_harmful(c) => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_json_and_harmless() {
        for c in '\0'..=char::MAX {
            let text = format!("{c}a{c}");
            let mut out = String::new();
            push_string(&mut out, &text);
            assert!(!out.contains(is_harmful), "{out:?}");
            if is_harmful(c) {
                let value: String = serde_json::from_str(&out).unwrap();
                assert_eq!(value, text);
            } else {
                assert_eq!(out, serde_json::to_string(&text).unwrap());
            }
        }
    }
}
