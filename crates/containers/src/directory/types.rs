//! The inputs and outputs of the directory.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The role of a container in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Runs before the other containers, until it ends.
    Init,
    /// An init container with `restartPolicy: Always`: it runs beside the other containers.
    Sidecar,
    /// One of `containers`.
    App,
    /// Added later, for debugging.
    Ephemeral,
}

/// A pod as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSighting {
    /// `metadata.uid`.
    pub uid: String,
    /// Annotation `kubernetes.io/config.mirror`, which only the mirror of a static pod has. It is kubelet's own UID of
    /// the pod.
    pub mirror: Option<String>,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`. Annotations that do not begin with [`ANNOTATIONS`](super::ANNOTATIONS) are dropped.
    pub annotations: BTreeMap<String, String>,
    /// Its containers of all kinds, from the specification, each with its status.
    pub containers: Vec<ContainerSighting>,
}

/// A container as the API server has it, in the specification and the status of its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSighting {
    /// Its name.
    pub name: String,
    /// Its role in the pod.
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

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// UID that kubelet uses, and so do cgroups and the container runtime.
    pub uid: String,
    /// UID that the API server uses, if known. It differs only for static pods.
    pub api_uid: Option<String>,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels, up to [`MAX_LABELS`](super::MAX_LABELS) in all. Until the API server has reported them, they come from
    /// the container runtime, which has the labels from the pod's start.
    pub labels: BTreeMap<String, String>,
    /// Whether labels were left out because of the limit.
    pub labels_cut: bool,
    /// lastword's annotations, with the same limit and from the same sources.
    pub annotations: BTreeMap<String, String>,
}

/// One run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// Its role in the pod, which only the API server knows.
    pub kind: Option<Kind>,
    /// Image, as in the specification if that is known.
    pub image: String,
    /// Image by digest or id; empty if unknown.
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
