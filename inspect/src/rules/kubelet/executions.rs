//! Told from the executions of the probe, where kubelet's event is missing: its client drops events of an object that has many, and
//! the agent may have asked before it came.

use capture_format::{Kubernetes, SignalOrigin};
use serde_json::Value;

use super::AFTER;
use super::why::{Probe, Why};
use crate::facts::Process;
use crate::facts::signals::SentSignal;
use crate::rules::visit::{command, executions, failed, specified};
use crate::rules::{Case, outside_signal::Ending};

/// `failureThreshold` where none is given.
/// Source: Kubernetes API reference, Probe v1 core.
const FAILURE_THRESHOLD: u64 = 3;
/// From the last failure to the signal: kubelet and the runtime of a slow node take seconds. 10 s, in nanoseconds.
const SOON: u64 = 10_000_000_000;
/// Command names of what a runtime sends a signal with: runc, crun, youki, containerd and its shim, CRI-O, conmon, Docker.
const SENDERS: &[&[u8]] = &[
    b"runc",
    b"crun",
    b"youki",
    b"containerd",
    b"crio",
    b"conmon",
    b"dockerd",
];

/// Why kubelet ended a container whose probe failed as often as it may, right before the runtime sent the signal; nothing where
/// the pod was to go anyway.
pub(super) fn why(case: &Case<'_>, kubernetes: &Kubernetes, ending: &Ending<'_>) -> Option<Why> {
    let deleted = kubernetes.pod["metadata"]["deletionTimestamp"].is_string();
    if deleted || !is_of_runtime(ending.first) {
        return None;
    }
    // The liveness probe is executed only after the startup probe was well.
    let probes = [Probe::Startup, Probe::Liveness];
    let probe = probes
        .into_iter()
        .find(|probe| failed_too_often(case, *probe, ending))?;
    Some(Why::probe(case, kubernetes, probe))
}

fn is_of_runtime(sent: &SentSignal) -> bool {
    let named = SENDERS
        .iter()
        .any(|name| sent.sender_name.starts_with(name));
    named && sent.origin == Some(SignalOrigin::Outside)
}

/// Whether every execution of the probe's command failed since it was well last, as often as is allowed, and the last of them right
/// before the signal.
fn failed_too_often(case: &Case<'_>, probe: Probe, ending: &Ending<'_>) -> bool {
    let (_, key) = probe.names();
    let Some(command) = command(case, &[key]) else {
        return false;
    };
    let ended = |process: &&Process| {
        let exit = process.exit;
        exit.is_some_and(|exit| exit.time <= ending.first.time)
    };
    let executions = executions(case, &command);
    let ended: Vec<&Process> = executions.into_iter().filter(ended).collect();
    let failures = ended
        .iter()
        .rev()
        .take_while(|process| failed(process))
        .count();
    if matches!(probe, Probe::Startup) && failures < ended.len() {
        return false;
    }
    let last = ended.last().and_then(|process| process.exit);
    let threshold = specified(case, &[key, "failureThreshold"]).and_then(Value::as_u64);
    let hook = specified(case, &["lifecycle", "preStop"]).is_some();
    let soon = if hook { AFTER } else { SOON };
    failures as u64 >= threshold.unwrap_or(FAILURE_THRESHOLD)
        && last.is_some_and(|last| ending.first.time - last.time <= soon)
}
