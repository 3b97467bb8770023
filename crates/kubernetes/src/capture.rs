//! The custom resource `Capture`: what is to be captured, and what became of it.
//!
//! A Capture has no owner reference, so it outlives its pod. It is deleted when its time to live is over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::cut;

/// Which container is to be captured, and why.
#[expect(
    clippy::duplicated_attributes,
    reason = "columns are alike in their type or priority"
)]
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "lastword.dev",
    version = "v1alpha1",
    kind = "Capture",
    plural = "captures",
    shortname = "cap",
    namespaced,
    status = "CaptureStatus",
    derive = "PartialEq",
    doc = "What lastword recorded of the last runs of a container. Apply one to have a container captured now.",
    printcolumn(
        name = "Pod",
        type_ = "string",
        json_path = ".spec.podName",
        priority = 1
    ),
    printcolumn(
        name = "Container",
        type_ = "string",
        json_path = ".status.container",
        priority = 1
    ),
    printcolumn(name = "Trigger", type_ = "string", json_path = ".spec.trigger.kind"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Runs", type_ = "integer", json_path = ".status.runs"),
    printcolumn(name = "Similar", type_ = "integer", json_path = ".status.similar"),
    printcolumn(
        name = "Owner",
        type_ = "string",
        json_path = ".status.owner",
        priority = 1
    ),
    printcolumn(
        name = "Lost",
        type_ = "integer",
        json_path = ".status.losses.lost",
        priority = 1
    ),
    printcolumn(
        name = "Overwritten",
        type_ = "integer",
        json_path = ".status.losses.overwritten",
        priority = 1
    ),
    printcolumn(
        name = "Bytes",
        type_ = "integer",
        json_path = ".status.sizeBytes",
        priority = 1
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".status.node",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CaptureSpec {
    /// Name of the pod, in the namespace of this object.
    #[schemars(length(min = 1, max = 253))]
    pub pod_name: String,
    /// UID of the pod, where only that one is meant and not a later pod of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pod_uid: Option<String>,
    /// Name of the container in the pod; without it, the one that crashed last, or else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub container: Option<String>,
    /// Id of the container in its runtime, without the runtime's name, where only that one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub container_id: Option<String>,
    /// Why it is captured.
    #[serde(default)]
    pub trigger: Trigger,
    /// How long this object is kept once it is Complete or Failed, such as 168h or 7d; without it, as long as the agent's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^([1-9][0-9]{0,5}(s|m|h|d))+$"))]
    pub ttl: Option<String>,
}

/// Why a container is captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Trigger {
    /// Short name, such as restarts, oom, manual, alert.
    #[schemars(length(max = 64))]
    pub kind: String,
    /// One sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub detail: Option<String>,
}

impl Default for Trigger {
    /// The trigger of an object that somebody applied without a reason.
    fn default() -> Self {
        Self {
            kind: "manual".to_owned(),
            detail: None,
        }
    }
}

/// What became of a capture. Only agents write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CaptureStatus {
    /// How far it is; without it, Pending.
    pub phase: Phase,
    /// The node whose agent took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// UID of the pod that was captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Name of the container that was captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Id in its runtime of the container of the newest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// What ended the newest run, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Stable name of what ended it, such as dns_no_such_host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Identifies the fault, over all pods and clusters: 16 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whose fault it is, as KIND/NAME: the controller above the pod that lives longest, or else the pod. Captures that
    /// announce themselves have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How often else the same fault was recorded in the same container of the same owner, without a Capture of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similar: Option<i64>,
    /// The newest of these, newest first: ten at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub similar_pods: Vec<SimilarPod>,
    /// Names of the newest additions to similar. An agent that does not know whether one of its own succeeded finds it
    /// here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub additions: Vec<String>,
    /// Name of the file on the node and in object storage, without its suffix; without it, the name of this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub file: Option<String>,
    /// How sure the verdict is, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<i32>,
    /// What may be why, if the verdict leaves that open, the best one first: three at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), inner(length(max = 512)))]
    pub leads: Vec<String>,
    /// Number of runs in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<i32>,
    /// Size of the file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// What the file does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub losses: Option<Losses>,
    /// Where the file is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When an agent took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Time>,
    /// When it became Complete or Failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How often an agent took it. One that restarts in the middle takes it once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// Why it Failed, in one word for machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it Failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A pod that had the same fault. Its file is on its node, as long as there is room for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimilarPod {
    /// Name of the pod.
    pub pod_name: String,
    /// The node whose agent recorded it.
    pub node: String,
    /// Name of the file on the node, without its suffix.
    pub file: String,
    /// When the agent wrote the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Time>,
}

/// How far a capture is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// No agent has taken it.
    #[default]
    Pending,
    /// An agent is writing it.
    Capturing,
    /// The file is written.
    Complete,
    /// There will be no file.
    Failed,
}

/// What the file does not hold, over all its runs: numbers of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Losses {
    /// Never recorded, at least.
    pub lost: i64,
    /// Recorded, then displaced by newer events.
    pub overwritten: i64,
    /// Damaged while they were recorded.
    pub torn: i64,
}

/// Where the file of a capture is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Location {
    /// Path on the node, outside of any pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_path: Option<String>,
    /// URL in the object storage, once it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_url: Option<String>,
}

/// Label of a Capture: the node whose agent has to do with it, in the form of [`crate::captures`]. An agent watches the
/// Captures with the label of its node, and those without this label.
pub const NODE_LABEL: &str = "lastword.dev/node";

/// The longest detail of a trigger that the schema allows. This counts bytes; a character has at least one.
const DETAIL_LIMIT: usize = 1024;

/// How many leads the schema allows, and the longest one, in bytes.
const LEADS: (usize, usize) = (3, 512);

/// The first leads, each cut to what the schema allows.
#[must_use]
pub fn within_limits(leads: &[String]) -> Vec<String> {
    let (most, longest) = LEADS;
    let leads = leads.iter().take(most);
    leads.map(|lead| cut(lead, longest)).collect()
}

impl CaptureSpec {
    /// The trigger with a detail that is not too long for the schema.
    pub(crate) fn bounded(mut self) -> Self {
        let detail = self.trigger.detail.take();
        self.trigger.detail = detail.map(|detail| cut(&detail, DETAIL_LIMIT));
        self
    }
}

impl Capture {
    /// The phase of the capture.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.status
            .as_ref()
            .map_or(Phase::Pending, |status| status.phase)
    }
}
