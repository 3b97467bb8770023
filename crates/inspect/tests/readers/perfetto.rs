//! Perfetto, checked with its own schema, from its package for Python.

use std::collections::BTreeSet;

use capture_format::EventKind as K;
use libtest_mimic::Failed;
use serde_json::Value;

use crate::capture::Exported;
use crate::program::{Program, python, run};
use crate::{Case, same};

pub(crate) const CASES: &[Case] = &[("perfetto_has_processes_and_events", Some(schema), tracks)];

fn schema() -> Program {
    Program::module("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
}

fn tracks(capture: &Exported) -> Result<(), Failed> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/decode.py");
    let said = run(python().arg(script).arg(capture.file("pftrace")))?;
    let trace: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
    same(
        "unknown fields",
        &trace["unknown"],
        &Value::Array(Vec::new()),
    )?;

    let pids = trace["processes"].as_array().ok_or("no processes")?;
    let found: BTreeSet<u64> = pids.iter().filter_map(Value::as_u64).collect();
    let pids = capture.events.iter().map(|it| u64::from(it.event.pid));
    let forked = capture.events.iter().filter(|it| it.event.kind == K::FORK);
    let expected = pids.chain(forked.map(|it| it.event.ret as u64)).collect();
    same("processes", found, expected)?;

    let found = trace["events"].as_array().ok_or("no events")?;
    same("events", found.len(), capture.events.len())?;
    for (found, it) in found.iter().zip(&capture.events) {
        let kind = it.event.kind.name().unwrap_or_default();
        let (pid, tid) = (it.event.pid, it.event.tid);
        let expected = serde_json::json!([it.event.time, kind, it.number, pid, tid]);
        same("event", found, &expected)?;
    }
    let sentences = capture.explanation.runs.iter();
    let sentences: Vec<&String> = sentences.map(|run| &run.verdict.sentence).collect();
    same(
        "verdicts",
        &trace["verdicts"],
        &serde_json::json!(sentences),
    )?;
    same("slices left open", &trace["open"], &Value::from(0))
}
