//! Why the kubelet ended a container, as a cause, a clause of the sentence, evidence and a next step.
//!
//! The reason comes from the event `Killing`, from what the probe or hook said (in events, or in what its command
//! printed), and from the pod's object, which says whether the pod was deleted or evicted. If a probe timed out while
//! the CPU limit held the container back, lack of CPU is the cause. The kubelet also ends a container whose image, or
//! whose resources, somebody has changed in the pod (`computePodActions` in
//! pkg/kubelet/kuberuntime/kuberuntime_manager.go).
//!
//! Events and object are as old as the capture: what the API server learned later is missing.

use capture_format::{Kubernetes, PodEvent, PodReason};

use crate::rules::visit::{printed, visit};
use crate::rules::{Case, Cause, Evidence};
use events::escape::escaped_to;

/// The events about the container, or about its pod as a whole.
pub(super) fn about<'a>(
    case: &Case<'a>,
    kubernetes: &'a Kubernetes,
) -> impl Iterator<Item = &'a PodEvent> {
    let name = &case.header.container.name;
    let events = kubernetes.events.iter();
    events.filter(move |event| event.container().is_none_or(|about| about == name))
}

/// Whether the pod is to end or has ended, whatever its probes say: it was deleted, evicted or preempted, its deadline
/// passed, or it is complete.
pub(super) fn is_going(kubernetes: &Kubernetes) -> bool {
    kubernetes.is_deleted() || kubernetes.is_over() || kubernetes.is_disrupted()
}

/// Why the kubelet ended the container.
pub(super) struct Why {
    pub(super) cause: Cause,
    pub(super) subject: String,
    /// What follows "because".
    pub(super) because: String,
    pub(super) evidence: Vec<Evidence>,
    pub(super) next_step: String,
}

impl Why {
    /// `None` if the event says nothing that is known here.
    pub(super) fn of(case: &Case<'_>, kubernetes: &Kubernetes, killing: &PodEvent) -> Option<Self> {
        let message = killing.message.to_lowercase();
        if message.contains("failed liveness probe") {
            return Some(Self::probe(case, kubernetes, Probe::Liveness));
        }
        if message.contains("failed startup probe") {
            return Some(Self::probe(case, kubernetes, Probe::Startup));
        }
        if message.contains("poststarthook") {
            return Some(Self::hook(case, kubernetes));
        }
        if message.contains(" definition changed") {
            return Some(Self::changed(
                "image",
                "the image of its container was changed",
            ));
        }
        if message.contains(" resize requires restart") {
            let because = "the resources of its container were changed, and its resizePolicy asks for a restart";
            return Some(Self::changed("resources", because));
        }
        message
            .starts_with("stopping container")
            .then(|| Self::pod(kubernetes))
            .flatten()
    }

    pub(super) fn probe(case: &Case<'_>, kubernetes: &Kubernetes, probe: Probe) -> Self {
        let (name, key) = probe.names();
        let told = about(case, kubernetes)
            .filter(|event| event.reason == "Unhealthy")
            .filter_map(|event| Some((event.last, probe.said(&event.message)?)))
            .max_by_key(|(last, _)| *last)
            .map(|(_, said)| said.to_owned());
        let said = told.or_else(|| printed(case, &[key])).unwrap_or_default();
        let text = match &*said {
            "" => String::new(),
            said => format!(": {}", escaped_to(said.as_bytes(), 300)),
        };
        let evidence = visit(case, &[key], &said);
        let starved = timed_out(&said).then(|| case.throttled()).flatten();
        let pod = case.header.pod.as_ref().map_or("POD", |pod| &pod.name);
        let pod = escaped_to(pod.as_bytes(), 100);
        match starved {
            Some(throttled) => Self {
                cause: Cause::CpuStarved,
                subject: format!("{name} probe"),
                because: format!("its {name} probe failed{text}, while {throttled}"),
                evidence,
                next_step:
                    "Raise resources.limits.cpu, or give the probe more time (timeoutSeconds)."
                        .into(),
            },
            None => Self {
                cause: probe.cause(),
                subject: format!("{name} probe"),
                because: format!("its {name} probe failed{text}"),
                evidence,
                next_step: format!(
                    "Compare what the probe asks for with what the program serves: `kubectl get pod {pod} -o yaml`, {key}."
                ),
            },
        }
    }

    fn hook(case: &Case<'_>, kubernetes: &Kubernetes) -> Self {
        let failed = about(case, kubernetes).filter(|event| event.reason == "FailedPostStartHook");
        let said = failed.max_by_key(|event| event.last);
        // `… failed - error: command '…' exited with 1: WHAT IT PRINTED, message: "…"`.
        let said = said.map(|event| {
            let message = &event.message;
            let error = message
                .split_once(" error: ")
                .map_or(&**message, |(_, error)| error);
            let error = error
                .rsplit_once(", message: ")
                .map_or(error, |(error, _)| error);
            error.trim()
        });
        let text = said.map_or_else(String::new, |said| {
            format!(": {}", escaped_to(said.as_bytes(), 300))
        });
        Self {
            cause: Cause::PostStartHookFailed,
            subject: "postStart hook".into(),
            because: format!("its postStart hook failed{text}"),
            evidence: said.map_or_else(Vec::new, |said| {
                visit(case, &["lifecycle", "postStart"], said)
            }),
            next_step: "Fix the command of lifecycle.postStart, or what it needs.".into(),
        }
    }

    /// Somebody changed the pod, and the kubelet restarts the container with the change.
    fn changed(what: &str, because: &str) -> Self {
        Self {
            cause: Cause::ContainerChanged,
            subject: what.into(),
            because: because.into(),
            evidence: Vec::new(),
            next_step: "Nothing, if that was meant: somebody changed the pod in place (`kubectl edit`, `kubectl set image`, a resize).".into(),
        }
    }

    /// The pod is to end because somebody wanted it to; the API server may say who.
    fn pod(kubernetes: &Kubernetes) -> Option<Self> {
        const EVICTIONS: &[&str] = &[
            "Evicted",
            "Preempted",
            "Preempting",
            "TaintManagerEviction",
            "NodeShutdown",
        ];
        let evicted = kubernetes.events.iter();
        let evicted = evicted.filter(|event| EVICTIONS.contains(&&*event.reason));
        let evicted = evicted
            .max_by_key(|event| event.last)
            .map(|event| PodReason {
                reason: &event.reason,
                message: &event.message,
            });
        let of_status = kubernetes.reason();
        let of_status = of_status.filter(|status| EVICTIONS.contains(&status.reason));
        if let Some(why) = evicted.or(kubernetes.disruption()).or(of_status) {
            let (reason, message) = (
                escaped_to(why.reason.as_bytes(), 100),
                escaped_to(why.message.trim().as_bytes(), 300),
            );
            return Some(Self {
                cause: Cause::Evicted,
                subject: reason.to_string(),
                because: format!("its pod was evicted ({reason}: {message})"),
                evidence: Vec::new(),
                next_step: "Look at the node (`kubectl describe node`): its pressure, its taints, and pods of higher priority.".into(),
            });
        }
        kubernetes.is_deleted().then(|| Self {
            cause: Cause::PodDeleted,
            subject: String::new(),
            because: "its pod was deleted".into(),
            evidence: Vec::new(),
            next_step: "Nothing, if that was meant: a roll-out, a scale-down, or `kubectl delete`."
                .into(),
        })
    }
}

/// A probe whose failure ends a container.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probe {
    Liveness,
    Startup,
}

impl Probe {
    /// The name for people, and the key in a container's specification.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Liveness => ("liveness", "livenessProbe"),
            Self::Startup => ("startup", "startupProbe"),
        }
    }

    fn cause(self) -> Cause {
        match self {
            Self::Liveness => Cause::LivenessProbeFailed,
            Self::Startup => Cause::StartupProbeFailed,
        }
    }

    /// What the probe said, from the message of an event `Unhealthy`.
    fn said(self, message: &str) -> Option<&str> {
        let kind = match self {
            Self::Liveness => "Liveness",
            Self::Startup => "Startup",
        };
        let rest = message.strip_prefix(kind)?.strip_prefix(" probe ")?;
        let (_, said) = rest.split_once(": ")?;
        Some(said.trim())
    }
}

fn timed_out(said: &str) -> bool {
    let said = said.to_lowercase();
    let texts = ["timeout", "timed out", "deadline exceeded"];
    texts.iter().any(|text| said.contains(text))
}
