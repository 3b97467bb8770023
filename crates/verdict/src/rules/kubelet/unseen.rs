//! The kubelet probably ended the container because of a probe whose failures were not recorded.
//!
//! This is for captures without the kubelet's event `Killing`, whose client drops events of an object that has many. A
//! probe over HTTP, TCP or gRPC executes nothing in the container. If the runtime sent the signal, the pod was not to
//! end anyway, and the container had run long enough for such a probe to fail as often as it may, then that probe is
//! the likely reason.
//!
//! This is wrong if somebody asked the runtime to end the container for a reason of their own. So the sentence says
//! "probably", and the score depends on whether the same probe is known to have ended an earlier run.

use capture_format::{Container, Kubernetes, PodEvent};

use super::executions::{FAILURE_THRESHOLD, PERIOD, SECOND, number};
use super::why::{Probe, Why, about, is_going};
use crate::rules::outside_signal::{Ending, is_of_runtime};
use crate::rules::visit::specified;
use crate::rules::{Case, Finding};

/// Confidence if kubelet's events say that this probe has ended the container before.
const HAS_BEFORE: u8 = 90;
/// Confidence if the container only has such a probe.
const MAY: u8 = 70;

pub(super) fn verdict(
    case: &Case<'_>,
    kubernetes: &Kubernetes,
    ending: &Ending<'_>,
) -> Option<Finding> {
    // kubelet ends a native sidecar when the application has ended.
    let sidecar = case.header.container.kind == Container::SIDECAR;
    if sidecar || is_going(kubernetes) || !is_of_runtime(ending.first) {
        return None;
    }
    let probes = [Probe::Liveness, Probe::Startup];
    let mut probes = probes
        .into_iter()
        .filter(|probe| may_have_failed(case, *probe, ending));
    let ended = |probe: &Probe| about(case, kubernetes).any(|event| is_end_by(*probe, event));
    let (probe, score) = match probes.clone().find(ended) {
        Some(probe) => (probe, HAS_BEFORE),
        None => (probes.next()?, MAY),
    };
    let why = Why::probe(case, kubernetes, probe);
    let known_by = match score {
        HAS_BEFORE => {
            "kubelet's events tell that this probe ended the container before; of this end they are not in the capture"
        }
        _ => {
            "the pod is not being deleted, and the container has such a probe; kubelet's own event is not in the capture"
        }
    };
    Some(super::verdict(
        case,
        ending,
        why,
        "probably because",
        score,
        format!("the runtime sent the signal, and {known_by}"),
    ))
}

fn is_end_by(probe: Probe, event: &PodEvent) -> bool {
    let (name, _) = probe.names();
    let message = event.message.to_lowercase();
    event.reason == "Killing" && message.contains(&format!("failed {name} probe"))
}

/// Whether the container has such a probe, the probe is not executed inside it, and the container ran long enough for
/// the probe to fail as often as it may.
fn may_have_failed(case: &Case<'_>, probe: Probe, ending: &Ending<'_>) -> bool {
    let (_, key) = probe.names();
    let of = |name, usual| number(case, &[key, name]).unwrap_or(usual);
    let kinds = ["httpGet", "tcpSocket", "grpc"];
    let failures = of("failureThreshold", FAILURE_THRESHOLD).saturating_sub(1);
    let least = failures.saturating_mul(of("periodSeconds", PERIOD));
    let least = least.saturating_add(of("initialDelaySeconds", 0));
    // kubelet counts from the moment at which it learns of the start, in ticks of its own.
    let least = least.saturating_sub(1).saturating_mul(SECOND);
    let lived = ending.first.time.since(case.run.start);
    kinds
        .iter()
        .any(|kind| specified(case, &[key, kind]).is_some())
        && lived >= least
}
