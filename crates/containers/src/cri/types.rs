//! What the container runtime knows about pods and containers, in the terms of this crate.

use std::collections::BTreeMap;

use super::messages;

/// Labels that kubelet sets on containers and, together with the pod's own labels, on sandboxes:
/// <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/kubelet/pkg/types/labels.go>.
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_UID: &str = "io.kubernetes.pod.uid";

/// The state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Created, but not started.
    Created,
    /// Started.
    Running,
    /// Ended, or could not be started.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// A container as the runtime lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id: for all known runtimes 64 lower-case hexadecimal digits, as in the name of its cgroup.
    pub id: String,
    /// UID of its pod as kubelet knows it. This and the next two names are empty if kubelet did not create the
    /// container.
    pub pod_uid: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// Name of its pod.
    pub pod_name: String,
    /// Its name in the pod.
    pub name: String,
    /// How many containers of this name the pod had before: kubelet's restart count when this one was created.
    pub attempt: u32,
    /// The present state.
    pub state: State,
    /// Nanoseconds since the Unix epoch.
    pub created_at: Option<u64>,
    /// Image as in the pod's specification, if the runtime reports that; otherwise the runtime's name for it, which is
    /// often an id.
    pub image: String,
    /// Image by digest or by id.
    pub image_id: String,
}

/// The state of a container, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The container.
    pub container: Container,
    /// Nanoseconds since the Unix epoch; `None` if it was never started.
    pub started_at: Option<u64>,
    /// Nanoseconds since the Unix epoch; `None` if it has not ended.
    pub finished_at: Option<u64>,
    /// Exit code, if it has ended; 128 plus the signal if a signal killed it. containerd reports 128 for a container
    /// that could not be started.
    pub exit_code: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …; empty while it runs.
    pub reason: String,
    /// The runtime's message, such as why the container could not be started.
    pub message: String,
}

/// The sandbox of a pod. Its id is that of its pause container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id, which is part of the name of the pause container's cgroup.
    pub id: String,
    /// UID of the pod, as kubelet knows it.
    pub pod_uid: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod_name: String,
    /// Whether it is in use. A sandbox that is not was replaced when the pod's sandbox was created anew.
    pub ready: bool,
    /// Labels of the pod when the sandbox was made.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pod when the sandbox was made, only those that [`ANNOTATIONS`](crate::directory::ANNOTATIONS)
    /// selects.
    pub annotations: BTreeMap<String, String>,
}

/// The runtime at a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `containerd`, `cri-o`, `docker`.
    pub runtime: String,
    /// Its version.
    pub version: String,
}

/// Converts a time; zero means "not yet".
fn time(nanoseconds: i64) -> Option<u64> {
    u64::try_from(nanoseconds).ok().filter(|&time| time > 0)
}

fn image_name(image: Option<messages::ImageSpec>) -> String {
    let image = image.unwrap_or_default();
    if image.user_specified_image.is_empty() {
        image.image
    } else {
        image.user_specified_image
    }
}

impl State {
    fn from_wire(state: i32) -> Self {
        match messages::ContainerState::try_from(state) {
            Ok(messages::ContainerState::Created) => Self::Created,
            Ok(messages::ContainerState::Running) => Self::Running,
            Ok(messages::ContainerState::Exited) => Self::Exited,
            Ok(messages::ContainerState::Unknown) | Err(_) => Self::Unknown,
        }
    }
}

impl From<messages::Container> for Container {
    fn from(from: messages::Container) -> Self {
        let metadata = from.metadata.unwrap_or_default();
        let mut labels = from.labels;
        let mut label = |name| labels.remove(name).unwrap_or_default();
        Self {
            id: from.id,
            pod_uid: label(POD_UID),
            namespace: label(POD_NAMESPACE),
            pod_name: label(POD_NAME),
            name: metadata.name,
            attempt: metadata.attempt,
            state: State::from_wire(from.state),
            created_at: time(from.created_at),
            image: image_name(from.image),
            image_id: from.image_ref,
        }
    }
}

impl From<messages::ContainerStatus> for Status {
    fn from(from: messages::ContainerStatus) -> Self {
        let finished_at = time(from.finished_at);
        Self {
            container: messages::Container {
                id: from.id,
                metadata: from.metadata,
                image: from.image,
                image_ref: from.image_ref,
                state: from.state,
                created_at: from.created_at,
                labels: from.labels,
            }
            .into(),
            started_at: time(from.started_at),
            finished_at,
            exit_code: finished_at.map(|_| from.exit_code),
            reason: from.reason,
            message: from.message,
        }
    }
}

impl From<messages::PodSandbox> for Sandbox {
    fn from(from: messages::PodSandbox) -> Self {
        let metadata = from.metadata.unwrap_or_default();
        let mut labels = from.labels;
        for kubelets in [POD_NAME, POD_NAMESPACE, POD_UID] {
            labels.remove(kubelets);
        }
        let mut annotations = from.annotations;
        annotations.retain(|name, _| name.starts_with(crate::directory::ANNOTATIONS));
        Self {
            id: from.id,
            pod_uid: metadata.uid,
            namespace: metadata.namespace,
            pod_name: metadata.name,
            ready: from.state == 0,
            labels,
            annotations,
        }
    }
}

#[cfg(test)]
mod tests;
