//! OTLP, checked with OpenTelemetry's own types.

use std::fs;

use capture_format::Class;
use libtest_mimic::Failed;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::capture::Exported;
use crate::{Case, same};

pub(crate) const CASES: &[Case] = &[
    ("opentelemetry_reads_the_records", None, records),
    ("opentelemetry_would_write_the_same", None, written_alike),
];

fn lines(capture: &Exported) -> Result<Vec<(String, ExportLogsServiceRequest)>, Failed> {
    let text = fs::read_to_string(capture.file("otlp.jsonl"))?;
    let parse = |line: &str| match serde_json::from_str(line) {
        Ok(request) => Ok((line.to_owned(), request)),
        Err(error) => Err(Failed::from(error.to_string())),
    };
    text.lines().map(parse).collect()
}

fn records(capture: &Exported) -> Result<(), Failed> {
    let lines = lines(capture)?;
    let resources = lines.iter().flat_map(|(_, request)| &request.resource_logs);
    let scopes = resources.flat_map(|resource| &resource.scope_logs);
    let records: Vec<&LogRecord> = scopes.flat_map(|scope| &scope.log_records).collect();
    let (verdicts, events): (Vec<&LogRecord>, _) = records
        .into_iter()
        .partition(|record| record.event_name == "lastword.verdict");
    same("events", events.len(), capture.events.len())?;
    let offset = capture.header.host.clock_offset;
    for (record, it) in events.into_iter().zip(&capture.events) {
        let time = i128::from(it.event.time.0) + i128::from(offset);
        let kind = it.event.kind.name().unwrap_or_default();
        same("time", i128::from(record.time_unix_nano), time)?;
        same("name", &record.event_name, &format!("lastword.{kind}"))?;
        let pid = Value::IntValue(it.event.pid.into());
        same("pid", attribute(record, "process.pid"), Some(pid))?;
        let data =
            Some(Value::BytesValue(it.event.data.to_vec())).filter(|_| !it.event.data.is_empty());
        same("data", attribute(record, "lastword.data"), data)?;
        if it.event.kind.class() == Class::Opens {
            let path = Value::StringValue(it.path.clone());
            same("path", attribute(record, "file.path"), Some(path))?;
        }
    }
    let bodies = verdicts.iter().map(|record| record.body.clone()?.value);
    let sentences = capture.explanation.runs.iter();
    let expected = sentences.map(|run| Some(Value::StringValue(run.verdict.sentence.clone())));
    same("verdicts", bodies.collect::<Vec<_>>(), expected.collect())
}

fn attribute(record: &LogRecord, key: &str) -> Option<Value> {
    let attribute = record.attributes.iter().find(|it| it.key == key)?;
    attribute.value.clone()?.value
}

/// Whatever we write, it has the names and forms that OpenTelemetry's types write themselves.
fn written_alike(capture: &Exported) -> Result<(), Failed> {
    for (line, request) in lines(capture)? {
        let ours: serde_json::Value = serde_json::from_str(&line).map_err(|it| it.to_string())?;
        let theirs = serde_json::to_value(&request).map_err(|it| it.to_string())?;
        let missing = not_in(&ours, &theirs, "");
        same("not in theirs", missing, None)?;
    }
    Ok(())
}

/// The first path of ours that is not, or is another, in theirs, which also has what is empty.
fn not_in(ours: &serde_json::Value, theirs: &serde_json::Value, path: &str) -> Option<String> {
    use serde_json::Value as V;
    match (ours, theirs) {
        (V::Object(ours), V::Object(theirs)) => ours.iter().find_map(|(key, ours)| {
            let path = format!("{path}.{key}");
            match theirs.get(key) {
                Some(theirs) => not_in(ours, theirs, &path),
                None => Some(path),
            }
        }),
        (V::Array(ours), V::Array(theirs)) if ours.len() == theirs.len() => {
            let pairs = ours.iter().zip(theirs).enumerate();
            let mut found = pairs
                .filter_map(|(at, (ours, theirs))| not_in(ours, theirs, &format!("{path}[{at}]")));
            found.next()
        }
        _ => (ours != theirs).then(|| format!("{path}: {ours} is {theirs}")),
    }
}
