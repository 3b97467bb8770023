//! What Kubernetes knew about the pod of a container.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What Kubernetes knew about the pod when the capture was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kubernetes {
    /// The Pod object (`metadata`, `spec`, `status`) as the API server has it, its secrets masked. Where that did not answer, what had been seen of it before
    /// the run ended: names, UID, and of each container command, resources, probes and hooks. Null where unknown.
    pub pod: Value,
    /// Events about the pod, oldest first.
    pub events: Vec<PodEvent>,
}

/// A Kubernetes Event about the pod. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodEvent {
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One word: `Killing`, `Unhealthy`, `BackOff`, ….
    pub reason: String,
    /// For people.
    pub message: String,
    /// How often it happened between `first` and `last`.
    pub count: u32,
    /// First time.
    pub first: Option<u64>,
    /// Last time.
    pub last: Option<u64>,
    /// Component that reported it, such as `kubelet`.
    pub source: String,
    /// `involvedObject.fieldPath`: the part of the pod it is about, such as `spec.containers{app}`; empty if all of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

impl PodEvent {
    /// Name of the container the event is about; none if it is about the pod.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        let (_, rest) = self.field_path.split_once('{')?;
        rest.strip_suffix('}')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_path_names_the_container() {
        let event = |field_path: &str| PodEvent {
            field_path: field_path.into(),
            ..PodEvent::default()
        };
        for kind in ["containers", "initContainers", "ephemeralContainers"] {
            let event = event(&format!("spec.{kind}{{app}}"));
            assert_eq!(event.container(), Some("app"));
        }
        assert_eq!(event("").container(), None);
        assert_eq!(event("spec.containers{app").container(), None);
    }
}
