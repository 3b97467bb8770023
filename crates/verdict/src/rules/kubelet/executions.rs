//! Why the kubelet ended the container, judged by the executions of a probe's command.
//!
//! This is for captures without the kubelet's event `Killing`: its client drops events of an object that has many, and
//! the agent may have asked before the event came. The processes of a probe that executes a command are recorded. If
//! they failed as often as `failureThreshold` allows, the last time right before the runtime sent the signal, the probe
//! is the reason.
//!
//! This is wrong if somebody else asked the runtime to end the container within the same seconds.

use capture_format::Kubernetes;
use serde_json::Value;

use super::AFTER;
use super::why::{Probe, Why, is_going};
use crate::facts::Process;
use crate::rules::Case;
use crate::rules::outside_signal::{Ending, is_of_runtime};
use crate::rules::visit::{command, executions, failed, specified};

/// `failureThreshold` if the specification has none.
/// Source: Kubernetes API reference, Probe v1 core.
pub(super) const FAILURE_THRESHOLD: u64 = 3;
/// `periodSeconds` if the specification has none.
/// Source: Kubernetes API reference, Probe v1 core.
pub(super) const PERIOD: u64 = 10;
pub(super) const SECOND: u64 = 1_000_000_000;
/// The longest time from the last failure to the signal: on a slow node, kubelet and the runtime take seconds. 10 s, in
/// nanoseconds.
const SOON: u64 = 10 * SECOND;
/// What was seen of a probe's failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// As many as kubelet allows before it ends the container.
    All,
    /// Fewer: the others may have happened before the recorder came.
    Last,
}

/// Why kubelet ended a container: its probe failed as often as it may, the last time right before the runtime sent the
/// signal. `None` if the pod was to end anyway.
pub(super) fn why(
    case: &Case<'_>,
    kubernetes: &Kubernetes,
    ending: &Ending<'_>,
) -> Option<(Why, Seen)> {
    if is_going(kubernetes) || !is_of_runtime(ending.first) {
        return None;
    }
    // The liveness probe is executed only after the startup probe has succeeded.
    let probes = [Probe::Startup, Probe::Liveness];
    let (probe, seen) = probes
        .into_iter()
        .find_map(|probe| Some((probe, failed_too_often(case, probe, ending)?)))?;
    Some((Why::probe(case, kubernetes, probe), seen))
}

/// Whether the probe's command failed as often as allowed since its last success, the last time right before the
/// signal.
fn failed_too_often(case: &Case<'_>, probe: Probe, ending: &Ending<'_>) -> Option<Seen> {
    let (_, key) = probe.names();
    let command = command(case, &[key])?;
    let ended = |process: &&Process| {
        let exit = process.exit;
        exit.is_some_and(|exit| exit.time <= ending.first.time)
    };
    let executions = executions(case, &command);
    let ended: Vec<&Process> = executions.into_iter().filter(ended).collect();
    let last = ended.last()?.exit?;
    let hook = specified(case, &["lifecycle", "preStop"]).is_some();
    let soon = if hook { AFTER } else { SOON };
    if ending.first.time.since(last.time) > soon {
        return None;
    }
    let failures = ended
        .iter()
        .rev()
        .take_while(|process| failed(process))
        .count();
    let all_failed = failures == ended.len();
    let threshold = number(case, &[key, "failureThreshold"]).unwrap_or(FAILURE_THRESHOLD);
    let missing = threshold.saturating_sub(failures as u64);
    match probe {
        Probe::Startup if !all_failed => None,
        _ if missing == 0 => Some(Seen::All),
        // Whether a startup probe succeeded before is not known.
        Probe::Liveness if all_failed && missing <= most_before(case, key, ended[0]) => {
            Some(Seen::Last)
        }
        _ => None,
    }
}

/// How often a probe may have been executed before the recorder came, judged by the first execution after that.
fn most_before(case: &Case<'_>, key: &str, first: &Process) -> u64 {
    let delay = number(case, &[key, "initialDelaySeconds"])
        .unwrap_or(0)
        .saturating_mul(SECOND);
    let period = number(case, &[key, "periodSeconds"]).unwrap_or(PERIOD);
    let executed = first.exec.as_ref().map(|exec| exec.time);
    match (case.facts.adopted, executed) {
        (Some(_), Some(executed)) => {
            executed.since(case.run.start).saturating_sub(delay) / SECOND / period.max(1)
        }
        _ => 0,
    }
}

pub(super) fn number(case: &Case<'_>, keys: &[&str]) -> Option<u64> {
    specified(case, keys).and_then(Value::as_u64)
}
