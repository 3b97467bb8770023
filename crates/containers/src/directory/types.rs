//! The inputs and outputs of the directory.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Which part a container has in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Runs before the others, to its end.
    Init,
    /// An init container with `restartPolicy: Always`: runs beside the others.
    Sidecar,
    /// One of `containers`.
    App,
    /// Added for debugging.
    Ephemeral,
}

/// A pod as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSighting {
    /// `metadata.uid`.
    pub uid: String,
    /// Annotation `kubernetes.io/config.mirror`, which only the mirror of a static pod has: kubelet's own UID of the pod.
    pub mirror: Option<String>,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`; those of others than [`ANNOTATIONS`](super::ANNOTATIONS) are dropped.
    pub annotations: BTreeMap<String, String>,
    /// Its containers of all kinds, by the specification, with what the status says of each.
    pub containers: Vec<ContainerSighting>,
}

/// A container as the API server has it, in the specification and the status of its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSighting {
    /// Its name.
    pub name: String,
    /// Its part in the pod.
    pub kind: Kind,
    /// Image in the specification.
    pub image: String,
    /// `imageID` of its status; empty before it has one.
    pub image_id: String,
    /// `restartCount` of its status.
    pub restart_count: u32,
    /// `containerID` of its status, without the runtime before it (`containerd://`).
    pub current: Option<String>,
    /// `lastState.terminated.containerID` of its status, likewise.
    pub previous: Option<String>,
}

/// Which pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// UID as kubelet has it, and with it cgroups and the container runtime.
    pub uid: String,
    /// UID as the API server has it, where that has been heard of: another one for static pods only.
    pub api_uid: Option<String>,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels, up to [`MAX_LABELS`](super::MAX_LABELS) in all. From the container runtime, which has those of the pod's start,
    /// until the API server has been heard.
    pub labels: BTreeMap<String, String>,
    /// Whether there are labels beyond that.
    pub labels_cut: bool,
    /// Annotations of lastword, bounded and learnt in the same way.
    pub annotations: BTreeMap<String, String>,
}

/// Which container: one run of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// Its part in the pod; only the API server knows.
    pub kind: Option<Kind>,
    /// Image, as in the specification wherever that is known.
    pub image: String,
    /// Image by digest or id; empty if not known.
    pub image_id: String,
    /// Restarts before this run.
    pub attempt: u32,
    /// Its pod.
    pub pod: Arc<Pod>,
}

impl Identity {
    /// Number of the run, from 1.
    pub fn run(&self) -> u32 {
        self.attempt.saturating_add(1)
    }
}
