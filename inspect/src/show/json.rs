//! One JSON object an event: what the fields mean and which of them stay is written in docs/json.md.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use capture_format::{Damage, Event, EventFlags, EventKind, Host, Run};
use serde::Serialize;

use super::args::{NameRole, Value, args, name_role};
use crate::context::Seen;
use crate::decode::time::time_of_day;
use crate::decode::{Errno, Message, SockAddr};
use crate::fds::{Fd, Target, acts_on_fd, is_on_socket, type_name};
use crate::json::{Data, write_line};

/// Shows the events of one run.
pub(super) struct Printer<'a> {
    host: &'a Host,
    run: &'a Run,
}

#[derive(Serialize)]
struct Line<'e> {
    number: u64,
    run: u32,
    time_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    pid: u32,
    tid: u32,
    process: String,
    event: Cow<'static, str>,
    args: BTreeMap<&'static str, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fd: Option<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ret: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'e, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    argv: Option<Vec<Cow<'e, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Dns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'e>>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    #[serde(skip_serializing_if = "is_false")]
    name_truncated: bool,
    #[serde(skip_serializing_if = "is_false")]
    torn: bool,
    #[serde(skip_serializing_if = "is_false")]
    unreadable: bool,
    #[serde(skip_serializing_if = "is_false")]
    redacted: bool,
    #[serde(skip_serializing_if = "is_false")]
    adopted: bool,
}

#[derive(Serialize)]
struct Descriptor {
    number: i64,
    #[serde(rename = "type")]
    fd_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdio: Option<String>,
}

#[derive(Serialize)]
struct Dns {
    id: u16,
    response: bool,
    name: String,
    #[serde(rename = "type")]
    qtype: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rcode: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    answers: Vec<String>,
}

#[derive(Serialize)]
struct Missing {
    run: u32,
    damage: String,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl<'a> Printer<'a> {
    pub(super) fn new(host: &'a Host, run: &'a Run) -> Self {
        Self { host, run }
    }
}

impl super::Printer for Printer<'_> {
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn damage(&mut self, damage: &Damage, out: &mut dyn Write) -> io::Result<()> {
        let missing = Missing {
            run: self.run.number,
            damage: damage.to_string(),
        };
        write_line(&missing, out)
    }

    fn event(&mut self, seen: &Seen<'_>, out: &mut dyn Write) -> io::Result<()> {
        let &Seen {
            number,
            event,
            ref program,
            ref fd,
            ref path,
        } = seen;
        let role = name_role(event.kind);
        let descriptor = acts_on_fd(event.kind).then(|| descriptor(event, fd.as_ref()));
        let executes = matches!(
            event.kind,
            EventKind::EXEC | EventKind::EXECVE | EventKind::EXECVEAT
        );
        let argv = executes.then(|| {
            let args = event.data.split_inclusive(|&b| b == 0);
            let args = args.map(|arg| arg.strip_suffix(b"\0").unwrap_or(arg));
            args.map(String::from_utf8_lossy).collect()
        });
        let has_payload =
            !executes && !matches!(event.kind, EventKind::STDIO | EventKind::SIGNAL_GENERATE);
        let may_be_dns = is_on_socket(event, fd.as_ref());
        let syscall = event.kind.is_syscall();
        let has = |flag| event.flags.contains(flag);
        let line = Line {
            number,
            run: self.run.number,
            time_ns: event.time,
            time: time_of_day(event.time, self.host),
            pid: event.pid,
            tid: event.tid,
            process: program.label.clone(),
            event: event
                .kind
                .name()
                .map_or_else(|| format!("kind_{}", event.kind.0).into(), Into::into),
            args: args(event, &self.host.arch).into_iter().collect(),
            fd: descriptor,
            ret: syscall.then_some(event.ret),
            errno: Errno::from_ret(event.ret)
                .filter(|_| syscall)
                .map(|errno| errno.to_string()),
            name: (role != NameRole::Address && !event.name.is_empty())
                .then(|| String::from_utf8_lossy(&event.name)),
            path: (role == NameRole::Path && !path.is_empty())
                .then(|| String::from_utf8_lossy(path).into_owned()),
            address: (role == NameRole::Address)
                .then(|| SockAddr::parse(&event.name))
                .flatten()
                .map(|a| a.to_string()),
            argv,
            dns: may_be_dns
                .then(|| Message::parse_framed(&event.data))
                .flatten()
                .map(dns),
            data: (has_payload && !event.data.is_empty())
                .then(|| Data::of(&event.data, has(EventFlags::TRUNCATED))),
            truncated: has(EventFlags::TRUNCATED),
            name_truncated: has(EventFlags::NAME_TRUNCATED),
            torn: has(EventFlags::TORN),
            unreadable: has(EventFlags::FAULT),
            redacted: has(EventFlags::REDACTED),
            adopted: has(EventFlags::ADOPTED),
        };
        write_line(&line, out)
    }
}

fn descriptor(event: &Event, fd: Option<&Fd>) -> Descriptor {
    let path = fd.and_then(|fd| match &fd.target {
        Target::Path(path) => Some(String::from_utf8_lossy(path).into_owned()),
        _ => None,
    });
    Descriptor {
        number: event.args[0],
        fd_type: type_name(event.fd_type),
        path,
        peer: fd.and_then(Fd::peer).map(ToString::to_string),
        stdio: fd.and_then(|fd| fd.stdio).map(|stdio| stdio.to_string()),
    }
}

fn dns(message: Message) -> Dns {
    Dns {
        id: message.id,
        response: message.response,
        name: message.name,
        qtype: message.qtype,
        rcode: message.response.then(|| message.rcode.to_string()),
        answers: message.answers,
    }
}
