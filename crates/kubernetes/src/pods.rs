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
    watch::{Watch, Which},
};

/// Annotations with this prefix are kept.
pub(crate) const OUR_ANNOTATIONS: &str = "lastword.dev/";

/// A change to a pod of the node.
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
    /// The UID that the kubelet uses for a static pod; the pod's object here (a mirror pod) has a different UID.
    pub mirror: Option<String>,
    /// When the kubelet started with it.
    pub started: Option<Timestamp>,
    /// Whether it is being deleted, or the kubelet ends it (it was evicted or preempted, or its node shuts down).
    pub terminating: bool,
    /// Whether the kubelet restarts all of its containers because a restart rule of one of them says so, and since when
    /// the present state holds: the condition `AllContainersRestarting`.
    pub all_restarting: Option<(bool, Timestamp)>,
    /// When the last of its ordinary containers ended, if the kubelet starts none of them again. Then it stops the pod's
    /// sidecars.
    pub done: Option<Timestamp>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// The part of the object that says how its containers were started and why the kubelet may end one: `metadata`
    /// with names, UID, times, owners and the label that leads to a Deployment; from `spec`, for each container, its
    /// command, resources, probes and hooks. Secrets in it are not masked.
    pub object: Value,
    /// Its containers: first init and sidecar containers in their order, then the ordinary ones, then ephemeral ones.
    pub containers: Vec<ContainerInfo>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// Its role in the pod.
    pub kind: ContainerKind,
    /// Its name in the pod.
    pub name: String,
    /// The image that the pod's specification names.
    pub image: String,
    /// The image that runs, by digest if the runtime reports that; empty before there is one.
    pub image_id: String,
    /// Its id in the runtime, without `containerd://`; `None` before there is one.
    pub id: Option<String>,
    /// How often it was restarted.
    pub restart_count: u32,
    /// Its present state.
    pub state: ContainerState,
    /// How long after its start it counts as not ready because its readiness probe failed; set while it runs and is not
    /// ready.
    pub unready_after: Option<Duration>,
    /// How its previous run ended.
    pub last: Option<Terminated>,
    /// Paths at which it sees Secrets and tokens.
    pub secret_mounts: Vec<String>,
}

/// The role of a container in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerKind {
    /// Runs before the other containers, until it ends.
    Init,
    /// An init container with `restartPolicy: Always`: it runs beside the other containers.
    Sidecar,
    /// An ordinary container.
    App,
    /// Added to the running pod for debugging.
    Ephemeral,
}

impl ContainerKind {
    /// The path of a container with this name in the pod's object, as Kubernetes' own Events write it.
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

/// The present state of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It does not run, but will run.
    Waiting {
        /// The reason, such as `CrashLoopBackOff`; empty if none was given.
        reason: String,
        /// The message for people.
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

/// How a run ended, according to the kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminated {
    /// Exit code; 128 + the signal if a signal killed the process.
    pub exit_code: i32,
    /// The signal, if the runtime reported it.
    pub signal: Option<i32>,
    /// The reason, such as `Error`, `OOMKilled`, `Completed`, `StartError`.
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// When it started, to the second.
    pub started: Option<Timestamp>,
    /// When it ended, to the second.
    pub finished: Option<Timestamp>,
    /// Id of the container that ended, without `containerd://`.
    pub container_id: Option<String>,
}

/// Watches the pods of `node`.
pub fn watch(client: Client, node: &str, health: Health) -> BoxStream<'static, PodChange> {
    let watch = Watch {
        who: "pods",
        list: LIST_PODS,
        watch: WATCH_PODS,
        from_cache: true,
        which: Which {
            fields: Some(format!("spec.nodeName={node}")),
            ..Which::default()
        },
    };
    watch.follow(Api::<Pod>::all(client), health, |pod| {
        let info = trim::trim(pod)?;
        Some((info.uid.clone(), info))
    })
}

/// The complete pod object at this moment, for a capture; `None` if the pod is gone. Secrets in it are not masked.
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
