//! The pods of one node, trimmed to what the agent needs.

mod trim;

use std::{collections::BTreeMap, fmt, time::Duration};

use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use serde_json::Value;

use crate::{
    Change, Error, Health,
    error::{GET_POD, LIST_PODS, WATCH_PODS, call},
    watch::Watch,
};

/// Annotations with this prefix are kept.
pub(crate) const OUR_ANNOTATIONS: &str = "lastword.dev/";

/// What changed about the pods of the node.
pub type PodChange = Change<PodInfo>;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodInfo {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations whose key begins with `lastword.dev/`, with that prefix.
    pub annotations: BTreeMap<String, String>,
    /// What the kubelet calls a static pod, whose object here (a mirror pod) has a UID of its own.
    pub mirror: Option<String>,
    /// When the kubelet took it up.
    pub started: Option<Timestamp>,
    /// Whether it is being deleted, or the kubelet ends it (evicted, preempted, node shut down).
    pub terminating: bool,
    /// Whether the kubelet restarts all of its containers, as a restart rule of one says, and since when that is so: the condition `AllContainersRestarting`.
    pub all_restarting: Option<(bool, Timestamp)>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// The part of the object that tells how its containers were started and why the kubelet may end one: `metadata` with names, UID and `deletionTimestamp`, and of
    /// each container in `spec` its command, resources, probes and hooks. Secrets in it are not masked.
    pub object: Value,
    /// Its containers: init and sidecar containers in their order, then the others, then ephemeral ones.
    pub containers: Vec<ContainerInfo>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// What it is for.
    pub kind: ContainerKind,
    /// Name in the pod.
    pub name: String,
    /// Image as the pod asks for it.
    pub image: String,
    /// The image that runs, by digest where the runtime tells; empty before there is one.
    pub image_id: String,
    /// Id in its runtime, without `containerd://`; none before there is one.
    pub id: Option<String>,
    /// How often it was started again.
    pub restart_count: u32,
    /// What it does now.
    pub state: ContainerState,
    /// How long after its start it is not ready because its readiness probe failed; set while it runs and is not ready.
    pub unready_after: Option<Duration>,
    /// How its previous run ended.
    pub last: Option<Terminated>,
    /// Paths at which it sees Secrets and tokens.
    pub secret_mounts: Vec<String>,
}

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerKind {
    /// Runs before the others, to its end.
    Init,
    /// An init container that is restarted always: runs beside the others.
    Sidecar,
    /// An ordinary one.
    App,
    /// Added to the running pod, for debugging.
    Ephemeral,
}

impl ContainerKind {
    /// The field of a container of that name in the pod, as Kubernetes' own Events write it.
    #[must_use]
    pub fn field_path(self, name: &str) -> String {
        let list = match self {
            Self::Init | Self::Sidecar => "initContainers",
            Self::App => "containers",
            Self::Ephemeral => "ephemeralContainers",
        };
        format!("spec.{list}{{{name}}}")
    }
}

impl fmt::Display for ContainerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "init",
            Self::Sidecar => "sidecar",
            Self::App => "app",
            Self::Ephemeral => "ephemeral",
        })
    }
}

/// What a container does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It does not run, and will.
    Waiting {
        /// Such as `CrashLoopBackOff`; empty where nobody said.
        reason: String,
        /// For people.
        message: String,
    },
    /// It runs.
    Running {
        /// Since when, to the second.
        since: Option<Timestamp>,
    },
    /// It ended.
    Terminated(Terminated),
}

/// How a run ended, as kubelet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminated {
    /// Exit code; 128 + the signal for a process that a signal killed.
    pub exit_code: i32,
    /// The signal, where the runtime told it.
    pub signal: Option<i32>,
    /// Such as `Error`, `OOMKilled`, `Completed`, `StartError`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// When it started, to the second.
    pub started: Option<Timestamp>,
    /// When it ended, to the second.
    pub finished: Option<Timestamp>,
    /// Id of the container that ended, without `containerd://`.
    pub container_id: Option<String>,
}

/// Follows the pods of `node`.
pub fn watch(client: Client, node: &str, health: Health) -> BoxStream<'static, PodChange> {
    let watch = Watch {
        who: "pods",
        list: LIST_PODS,
        watch: WATCH_PODS,
    };
    let of_node = format!("spec.nodeName={node}");
    watch.follow(Api::<Pod>::all(client), Some(&of_node), health, |pod| {
        let info = trim::trim(pod)?;
        Some((info.uid.clone(), info))
    })
}

/// The whole pod as it is now, for a capture; none if it is gone. Secrets in it are not masked.
///
/// # Errors
/// The API server is away, or forbids it.
pub async fn get(client: &Client, namespace: &str, name: &str) -> Result<Option<Value>, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let Some(mut pod) = call(GET_POD, api.get_opt(name)).await? else {
        return Ok(None);
    };
    pod.metadata.managed_fields = None;
    serde_json::to_value(pod)
        .map(Some)
        .map_err(|error| Error::Invalid(error.to_string()))
}
