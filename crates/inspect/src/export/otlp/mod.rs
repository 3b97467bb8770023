//! OpenTelemetry log records, for collectors: OTLP in its JSON encoding, one `LogsData` a line.
//!
//! Collectors' file exporter writes the same form, and their `otlpjsonfile` receiver reads it.

use std::io::{self, Read, Seek, Write};

use capture_format::{BootTime, Event, EventKind as K, Header, Reader, Run, RunIndex};

use self::model::{
    Attribute, LogRecord, LogsData, Resource, ResourceLogs, Scope, ScopeLogs, Severity, Value,
};
use super::name::kind_name;
use super::{Sink, tell, time_of_day};
use crate::json::write_line;
use crate::select::Selection;
use crate::show::text;
use events::context::{Context, Seen};
use events::decode::{Errno, SockAddr};
use events::fds::{Fd, has_descriptor, has_path};
use verdict::explain::{Explanation, explain};

mod model;

/// How many records are written on one line.
const BATCH: usize = 512;
/// How many bytes of payload are written on one line.
const MAX_PAYLOAD: usize = 1 << 20;

/// Writes the selected events and the runs' verdicts as log records.
///
/// # Errors
/// When `out` fails. Damage to the capture is a record.
pub fn write<R: Read + Seek>(
    reader: &mut Reader<R>,
    select: &Selection,
    out: &mut impl Write,
) -> io::Result<()> {
    let explanation = explain(reader);
    let mut logs = Logs {
        header: reader.header().clone(),
        explanation,
        run: Run::default(),
        now: BootTime::default(),
        records: Vec::new(),
        payload: 0,
        out,
    };
    tell(reader, select, &mut logs)
}

struct Logs<W> {
    header: Header,
    explanation: Explanation,
    run: Run,
    /// Time of the last event.
    now: BootTime,
    records: Vec<LogRecord>,
    /// Bytes of payload in the records.
    payload: usize,
    out: W,
}

impl<W: Write> Sink for Logs<W> {
    fn begin_run(&mut self, run: &Run) -> io::Result<()> {
        self.run = run.clone();
        self.now = run.start;
        Ok(())
    }

    fn event(&mut self, seen: &Seen<'_>, _context: &Context) -> io::Result<()> {
        let event = seen.event;
        self.now = event.time;
        self.payload += event.data.len();
        let attributes = attributes(seen);
        let body = text::call(seen, &self.header.host);
        let name = kind_name(event.kind);
        self.record(severity(event), &name, body, attributes)
    }

    fn missing(&mut self, damage: &str) -> io::Result<()> {
        self.record(Severity::Error, "damage", damage.to_owned(), Vec::new())
    }

    fn end_run(&mut self, index: RunIndex, run: &Run) -> io::Result<()> {
        self.now = run.end.unwrap_or(self.now);
        if let Some(verdict) = self.explanation.runs.get(index.0) {
            let sentence = verdict.verdict.sentence.clone();
            self.record(Severity::Error, "verdict", sentence, Vec::new())?;
        }
        self.flush()
    }
}

impl<W: Write> Logs<W> {
    fn record(
        &mut self,
        severity: Severity,
        name: &str,
        body: String,
        attributes: Vec<Attribute>,
    ) -> io::Result<()> {
        self.records.push(LogRecord {
            time_unix_nano: time_of_day(self.now, &self.header.host).0,
            observed_time_unix_nano: self.header.created.0,
            severity_number: severity,
            severity_text: severity.text(),
            event_name: format!("lastword.{name}"),
            body: Value::Text(body),
            attributes,
        });
        if self.records.len() >= BATCH || self.payload >= MAX_PAYLOAD {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        self.payload = 0;
        let log_records = std::mem::take(&mut self.records);
        let scope = Scope {
            name: "lastword",
            version: env!("CARGO_PKG_VERSION"),
        };
        let resource_logs = ResourceLogs {
            resource: Resource {
                attributes: resource(&self.header, &self.run),
            },
            scope_logs: [ScopeLogs { scope, log_records }],
        };
        let line = LogsData {
            resource_logs: [resource_logs],
        };
        write_line(&line, &mut self.out)
    }
}

fn severity(event: &Event) -> Severity {
    match event.kind {
        K::OOM_KILL => Severity::Error,
        K::EXIT if event.ret != 0 => Severity::Error,
        kind if kind.is_syscall() && event.ret < 0 => Severity::Warn,
        _ => Severity::Info,
    }
}

/// The resource that the records of a run are about, in the terms of OpenTelemetry's semantic conventions.
fn resource(header: &Header, run: &Run) -> Vec<Attribute> {
    let container = &header.container;
    let pod = header.pod.as_ref();
    let of_pod = |value: fn(&capture_format::Pod) -> &String| pod.map_or("", |pod| value(pod));
    let texts = [
        ("service.name", container.name.as_str()),
        ("host.name", &header.host.name),
        ("host.arch", host_arch(&header.host.arch)),
        ("container.id", &container.id),
        ("container.name", &container.name),
        ("container.image.name", &container.image),
        ("k8s.namespace.name", of_pod(|pod| &pod.namespace)),
        ("k8s.pod.name", of_pod(|pod| &pod.name)),
        ("k8s.pod.uid", of_pod(|pod| &pod.uid)),
    ];
    let mut all: Vec<Attribute> = texts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| of_text(key, text.to_owned()))
        .collect();
    if pod.is_some() {
        all.push(of_text("k8s.container.name", container.name.clone()));
        let restarts = run.number.saturating_sub(1);
        all.push(of_int("k8s.container.restart_count", restarts));
    }
    all.push(of_int("lastword.run", run.number));
    all
}

/// The name of an architecture in OpenTelemetry's semantic conventions.
fn host_arch(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn attributes(seen: &Seen<'_>) -> Vec<Attribute> {
    let event = seen.event;
    let mut all = vec![
        of_int("lastword.event.number", seen.number),
        of_int("process.pid", event.pid),
        of_int("thread.id", event.tid.0),
    ];
    let mut text = |key, bytes: &[u8]| {
        if !bytes.is_empty() {
            all.push(of_text(key, String::from_utf8_lossy(bytes).into_owned()));
        }
    };
    text("process.executable.name", &seen.program.name);
    text("process.executable.path", &seen.program.exe);
    let fd = seen.fd.as_ref();
    let path = match fd.and_then(Fd::path) {
        Some(path) => path,
        None if has_path(event.kind) => &seen.path,
        None => &bytes::Bytes::new(),
    };
    text("file.path", path);
    let peer = SockAddr::parse(&event.name).filter(|_| event.kind.class().is_on_socket());
    let peer = peer.as_ref();
    if let Some(peer) = peer.or_else(|| fd.and_then(Fd::peer)) {
        all.extend(network(peer));
    }
    if has_descriptor(event) {
        all.push(of_int("lastword.fd", event.args[0]));
    }
    if event.kind.is_syscall() {
        all.push(of_int("lastword.ret", event.ret));
        all.extend(Errno::from_ret(event.ret).map(|it| of_text("error.type", it.to_string())));
    }
    if !event.data.is_empty() {
        let data = Value::Bytes(event.data.to_vec());
        all.push(Attribute {
            key: "lastword.data",
            value: data,
        });
    }
    all
}

fn network(peer: &SockAddr) -> Vec<Attribute> {
    match peer.inet() {
        Some(inet) => vec![
            of_text("network.peer.address", inet.ip().to_string()),
            of_int("network.peer.port", inet.port()),
        ],
        None => vec![of_text("network.peer.address", peer.to_string())],
    }
}

fn of_text(key: &'static str, text: String) -> Attribute {
    Attribute {
        key,
        value: Value::Text(text),
    }
}

fn of_int(key: &'static str, value: impl TryInto<i64>) -> Attribute {
    Attribute {
        key,
        value: Value::int(value),
    }
}
