//! The input of the machine: observations.

use std::collections::{BTreeMap, BTreeSet};

use crate::Time;

/// Labels or annotations.
pub type Labels = BTreeMap<String, String>;

/// A container across its restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// Uid of its pod; empty for a container without one, or as long as it is not known.
    pub pod_uid: String,
    /// The container's name in its pod; its id as long as the name is not known.
    pub container: String,
}

/// What happened to a container. Runs are numbered from 1: restart count + 1. The run of a container without names is 1 until it is
/// [`Named`](Observation::Named).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Its names have become known: what is known under this subject belongs to another one from now on.
    Named {
        /// The subject with names.
        to: Subject,
        /// What its latest run's number really is.
        run: u32,
    },
    /// A run started. The time is the start's, also for a container that ran when the agent started.
    Started {
        /// Its number.
        run: u32,
    },
    /// A run that was recorded ended. May come again with more knowledge.
    Ended(Ended),
    /// What the API server or the runtime says of the end of a run: adds to [`Ended`](Observation::Ended), and does nothing without it.
    EndExplained(Ended),
    /// The restart count of a container's status.
    RestartCount {
        /// How often it was restarted.
        count: u32,
        /// A time before the first run: the pod's start.
        since: Option<Time>,
        /// When the latest restart took place at the earliest: the end of the run before.
        last: Option<Time>,
    },
    /// The kubelet delays its restart.
    BackedOff,
    /// The kubelet killed a run as a probe failed; the time is the event's, which has whole seconds only.
    KilledByProbe(Probe),
    /// Its readiness probe failed.
    NotReady,
    /// There is a capture of it that no [`Attempt`](crate::Attempt) of this machine made: read back, or taken for another reason.
    CaptureFound(Captured),
    /// A capture was deleted.
    CaptureDeleted {
        /// Which.
        id: String,
    },
    /// It will not be back: forget it.
    Gone,
}

impl Observation {
    /// What a container's waiting reason says.
    pub fn of_waiting(reason: &str) -> Option<Self> {
        (reason == "CrashLoopBackOff").then_some(Self::BackedOff)
    }

    /// What a Kubernetes Event on a pod says of the container that it is about (`involvedObject.fieldPath`). Reasons and
    /// messages are the kubelet's (pkg/kubelet/events, kuberuntime, prober).
    pub fn of_event(reason: &str, message: &str) -> Option<Self> {
        match reason {
            // The same reason is given when an image cannot be pulled.
            "BackOff" => message
                .contains("restarting failed container")
                .then_some(Self::BackedOff),
            "Killing" if message.contains("failed liveness probe") => {
                Some(Self::KilledByProbe(Probe::Liveness))
            }
            "Killing" if message.contains("failed startup probe") => {
                Some(Self::KilledByProbe(Probe::Startup))
            }
            "Unhealthy" => message
                .starts_with("Readiness probe failed")
                .then_some(Self::NotReady),
            _ => None,
        }
    }
}

/// A probe whose failure kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// livenessProbe.
    Liveness,
    /// startupProbe.
    Startup,
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
    /// The exit code as a shell or the kubelet gives it: 128 + the signal's number.
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
    /// How it ended, if that is known.
    pub status: Option<ExitStatus>,
    /// Whether the OOM killer chose a process of it, by the kernel's record.
    pub oom_killed: bool,
    /// Whether its command could not be started.
    pub start_failed: bool,
    /// Whether somebody outside sent its first process a signal that ends one.
    pub stopped: bool,
    /// The stable name of the verdict's cause; `None` if the evidence carries none.
    pub cause: Option<String>,
}

/// A capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// By which the caller knows it.
    pub id: String,
    /// When it was taken.
    pub at: Time,
    /// The cause it was taken for, as in [`Ended::cause`].
    pub cause: Option<String>,
    /// Ended runs in it.
    pub runs: usize,
    /// The number of the newest ended run in it; 0 if none had ended.
    pub last_run: u32,
}

/// What happened to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodObservation {
    /// What is known of it, in whole. Until then nothing is decided for its containers.
    Described(Description),
    /// It is being deleted, or was evicted, preempted or shut down: what ends from now on doesn't crash.
    Terminating,
    /// Since this time the kubelet restarts all of its containers, as a restart rule of one of them says; what it stops for that doesn't crash.
    RestartsAll(Time),
    /// It has done so, or never did, at this time.
    RestartedAll(Time),
    /// It is gone: forget its containers.
    Gone,
}

/// A pod, as far as triggers depend on it. `None` is what is not known (yet).
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
    /// Names of containers that somebody added for debugging (`ephemeralContainers`). They are recorded, and none of their ends is a crash, unless an
    /// annotation of their own says `on`.
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
                Some(O::KilledByProbe(Probe::Liveness)),
            ),
            (
                "Killing",
                "Container app failed startup probe, will be restarted",
                Some(O::KilledByProbe(Probe::Startup)),
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
