//! What a capture says about itself and about each run. It is stored as JSON documents: unknown keys are ignored,
//! missing keys have a default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::WallTime;

mod fit;
mod kubernetes;
mod run;

pub(crate) use fit::fitting;
pub use kubernetes::{Kubernetes, PodContainer, PodEvent, PodReason};
pub use run::{Cpu, ExitStatus, Losses, Run, Terminated};

/// What the whole capture is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Program and version that wrote the capture, such as `lastword 0.1.0`.
    pub program: String,
    /// When the capture was written.
    pub created: WallTime,
    /// The machine on which it was recorded.
    pub host: Host,
    /// The container.
    pub container: Container,
    /// Its pod, on Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// What Kubernetes knew about the pod, with secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
    /// Why the capture was taken.
    pub trigger: Trigger,
    /// What was masked before writing.
    pub redaction: Redaction,
    /// How the probes were attached.
    pub probes: Vec<Probe>,
    /// Parts that the writer left out because the document would have been larger than 1 MiB, such as
    /// `kubernetes.pod.spec: 1310720 bytes`, in the order in which they were left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omitted: Vec<String>,
}

/// The machine on which a capture was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Name of the node; without Kubernetes, name of the host.
    pub name: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Machine, as `uname -m`: `x86_64`, `aarch64`. It says to which ABI the numbers in events belong.
    pub arch: String,
    /// CLOCK_REALTIME minus CLOCK_BOOTTIME at writing, in nanoseconds. An event's time plus this is the time of day.
    pub clock_offset: i64,
}

/// The recorded container, or the command of `lastword run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The runtime's id of the container; empty for `lastword run`.
    pub id: String,
    /// Name in the pod; for `lastword run`, the command's base name.
    pub name: String,
    /// The container's role in its pod: [`APP`](Self::APP), [`INIT`](Self::INIT), [`SIDECAR`](Self::SIDECAR),
    /// [`EPHEMERAL`](Self::EPHEMERAL); empty if unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Image reference; empty for `lastword run`.
    pub image: String,
    /// Image with its digest, to which the runtime resolved the reference; empty if unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// Command and arguments, if known.
    pub command: Vec<String>,
    /// Its resources, from the pod's specification; `None` outside of Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Container {
    /// One of the pod's `containers`.
    pub const APP: &str = "app";
    /// Runs before the other containers, until it ends.
    pub const INIT: &str = "init";
    /// An init container that goes on running beside the other containers.
    pub const SIDECAR: &str = "sidecar";
    /// Added later, for debugging.
    pub const EPHEMERAL: &str = "ephemeral";
}

/// Resources of a container: resource name (`cpu`, `memory`) and Kubernetes quantity (`500m`, `64Mi`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// The most that it may use.
    pub limits: BTreeMap<String, String>,
    /// What the scheduler reserved for it.
    pub requests: BTreeMap<String, String>,
}

/// Identity of a Kubernetes pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// Why a capture was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trigger {
    /// Short name: `run` (lastword run), `interrupted`, `restarts`, `manual`, `alert`, ….
    pub kind: String,
    /// One sentence for people.
    pub detail: String,
}

/// What was masked before the capture was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redaction {
    /// Name of each rule and the number of places that it masked. Events with such a place have
    /// [`EventFlags::REDACTED`](crate::EventFlags::REDACTED).
    pub masked: Vec<(String, u64)>,
}

/// How one probe was attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// What it observes, such as `sys_exit`.
    pub name: String,
    /// Attach kind: `tp_btf`, `raw_tp`, `perf_tp`, or `off`.
    pub attach: String,
    /// Why this attach kind was chosen.
    pub reason: String,
}
