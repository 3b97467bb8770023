//! The input of the machine: observations.

use std::collections::{BTreeMap, BTreeSet};

use crate::Time;

/// Labels or annotations.
pub type Labels = BTreeMap<String, String>;

/// A container across its restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// UID of its pod; empty for a container without a pod, or as long as the UID is not known.
    pub pod_uid: String,
    /// The container's name in its pod; as long as the name is not known, its id.
    pub container: String,
}

/// Something that happened to a container. Runs are numbered from 1: restart count + 1. The run of a container without
/// names is 1 until the container is [`Named`](Observation::Named).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Its names have become known: what is known under this subject belongs to the subject `to` from now on.
    Named {
        /// The subject with names.
        to: Subject,
        /// The real number of its latest run.
        run: u32,
    },
    /// A run started. The time of the observation is that of the start, even if the container was already running when
    /// the agent started.
    Started {
        /// Its number.
        run: u32,
    },
    /// A recorded run ended. It may be reported again with more knowledge.
    Ended(Ended),
    /// What the API server or the runtime says about the end of a run. It adds to [`Ended`](Observation::Ended), and
    /// has no effect without it.
    EndExplained(Ended),
    /// The restart count of a container's status.
    RestartCount {
        /// How often it was restarted.
        count: u32,
        /// A time before the first run: the start of the pod.
        since: Option<Time>,
        /// The earliest possible time of the latest restart: the end of the run before.
        last: Option<Time>,
    },
    /// The kubelet delays the container's restart.
    BackedOff,
    /// The kubelet killed a run. The time is that of the event, in whole seconds.
    Killed(Why),
    /// Its readiness probe failed.
    NotReady,
    /// A capture exists that was not made by an [`Attempt`](crate::Attempt) of this machine: it was read back, or was
    /// taken for another reason.
    CaptureFound(Captured),
    /// A capture was deleted.
    CaptureDeleted {
        /// The capture.
        id: String,
    },
    /// The container will not come back: drop it.
    Gone,
}

impl Observation {
    /// What the waiting reason of a container means.
    pub fn of_waiting(reason: &str) -> Option<Self> {
        (reason == "CrashLoopBackOff").then_some(Self::BackedOff)
    }

    /// What a Kubernetes Event on a pod means for the container that it is about (`involvedObject.fieldPath`). Reasons
    /// and messages are the kubelet's (pkg/kubelet/events, kuberuntime, prober).
    pub fn of_event(reason: &str, message: &str) -> Option<Self> {
        match reason {
            // The same reason is also used if an image cannot be pulled.
            "BackOff" => message
                .contains("restarting failed container")
                .then_some(Self::BackedOff),
            "Killing" if message.contains("failed liveness probe") => {
                Some(Self::Killed(Why::LivenessProbe))
            }
            "Killing" if message.contains("failed startup probe") => {
                Some(Self::Killed(Why::StartupProbe))
            }
            "Killing" if CHANGES.iter().any(|change| message.contains(change)) => {
                Some(Self::Killed(Why::Changed))
            }
            "Unhealthy" => message
                .starts_with("Readiness probe failed")
                .then_some(Self::NotReady),
            _ => None,
        }
    }
}

/// What the kubelet says when it restarts a container whose image or resources somebody has changed in the pod
/// (`computePodActions` and `computePodResizeAction` in pkg/kubelet/kuberuntime/kuberuntime_manager.go).
const CHANGES: [&str; 2] = [" definition changed", " resize requires restart"];

/// Why the kubelet killed a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its livenessProbe failed.
    LivenessProbe,
    /// Its startupProbe failed.
    StartupProbe,
    /// Somebody changed its image or its resources in the pod. It did not crash.
    Changed,
    /// It is a sidecar, and all ordinary containers of its pod have ended for good. It did not crash.
    PodDone,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u8),
    /// This signal killed it.
    Signal(u8),
}

impl ExitStatus {
    /// The exit code that a shell or the kubelet gives: 128 + the number of the signal.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

/// The end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub run: u32,
    /// How it ended, if known.
    pub status: Option<ExitStatus>,
    /// Whether the OOM killer chose one of its processes, according to the kernel.
    pub oom_killed: bool,
    /// Whether its command could not be started.
    pub start_failed: bool,
    /// Whether somebody outside sent its first process a signal that asks it to end.
    pub stopped: bool,
    /// The stable name of the verdict's cause; `None` if the evidence supports no cause.
    pub cause: Option<String>,
}

/// A capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The name by which the caller knows it.
    pub id: String,
    /// When it was taken.
    pub at: Time,
    /// The cause for which it was taken, as in [`Ended::cause`].
    pub cause: Option<String>,
    /// How many ended runs it contains.
    pub runs: usize,
    /// The number of the newest ended run in it; 0 if no run had ended.
    pub last_run: u32,
}

/// Something that happened to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodObservation {
    /// All that is known about it. Until this is reported, nothing is decided for its containers.
    Described(Description),
    /// The pod is being deleted, or was evicted, preempted or shut down: containers that end from now on did not crash.
    Terminating,
    /// Since this time the kubelet restarts all of its containers, because a restart rule of one of them says so.
    /// Containers that it stops for that did not crash.
    RestartsAll(Time),
    /// At this time the restart of all containers was over, or had never begun.
    RestartedAll(Time),
    /// The pod is gone: drop its containers.
    Gone,
}

/// A pod, as far as triggers depend on it. `None` means not known (yet).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Name of its namespace.
    pub namespace: Option<String>,
    /// Its labels.
    pub labels: Option<Labels>,
    /// Its annotations.
    pub annotations: Labels,
    /// Its namespace's labels.
    pub namespace_labels: Option<Labels>,
    /// Its namespace's annotations.
    pub namespace_annotations: Option<Labels>,
    /// Names of containers that somebody added for debugging (`ephemeralContainers`). They are recorded, but none of
    /// their ends counts as a crash, unless their own annotation says `on`.
    pub ephemeral: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_the_kubelet() {
        use Observation as O;
        for (reason, message, expected) in [
            (
                "BackOff",
                "Back-off restarting failed container",
                Some(O::BackedOff),
            ),
            (
                "BackOff",
                "Back-off restarting failed container app in pod web_default(0f0e)",
                Some(O::BackedOff),
            ),
            ("BackOff", "Back-off pulling image \"nginx:none\"", None),
            (
                "Killing",
                "Container app failed liveness probe, will be restarted",
                Some(O::Killed(Why::LivenessProbe)),
            ),
            (
                "Killing",
                "Container app failed startup probe, will be restarted",
                Some(O::Killed(Why::StartupProbe)),
            ),
            (
                "Killing",
                "Container app definition changed, will be restarted",
                Some(O::Killed(Why::Changed)),
            ),
            (
                "Killing",
                "Init container app definition changed",
                Some(O::Killed(Why::Changed)),
            ),
            (
                "Killing",
                "Container app resize requires restart",
                Some(O::Killed(Why::Changed)),
            ),
            ("Killing", "Stopping container app", None),
            (
                "Unhealthy",
                "Readiness probe failed: HTTP probe failed with statuscode: 503",
                Some(O::NotReady),
            ),
            ("Unhealthy", "Liveness probe failed: timeout", None),
            ("Started", "Started container app", None),
        ] {
            assert_eq!(
                O::of_event(reason, message),
                expected,
                "{reason}: {message}"
            );
        }
        assert_eq!(O::of_waiting("CrashLoopBackOff"), Some(O::BackedOff));
        assert_eq!(O::of_waiting("ImagePullBackOff"), None);
    }
}
