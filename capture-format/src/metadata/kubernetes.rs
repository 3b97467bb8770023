//! What Kubernetes knew about the pod of a container.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Resources;
use crate::WallTime;

/// What Kubernetes knew about the pod when the capture was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kubernetes {
    /// The Pod object (`metadata`, `spec`, `status`) from the API server, with secrets masked. If the API server did
    /// not answer, what had been seen of the pod before the run ended: names, UID, and for each container command,
    /// resources, probes and hooks. Null if unknown.
    pub pod: Value,
    /// Events about the pod, oldest first.
    pub events: Vec<PodEvent>,
}

/// A Kubernetes Event about the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodEvent {
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One word: `Killing`, `Unhealthy`, `BackOff`, ….
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// How often it happened between `first` and `last`.
    pub count: u32,
    /// When it happened first.
    pub first: Option<WallTime>,
    /// When it happened last.
    pub last: Option<WallTime>,
    /// Component that reported it, such as `kubelet`.
    pub source: String,
    /// `involvedObject.fieldPath`: the part of the pod that the event is about, such as `spec.containers{app}`; empty
    /// for the whole pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

impl Kubernetes {
    /// What the pod's specification says about the container with this name, whether it is an app, init, sidecar or
    /// ephemeral container. Names are unique in a pod.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<PodContainer<'_>> {
        let lists = ["containers", "initContainers", "ephemeralContainers"];
        let mut all = lists.iter().flat_map(|list| self.list(list));
        all.find(|container| container["name"] == name)
            .map(PodContainer)
    }

    /// What the pod's specification says about the volume with this name.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Value> {
        self.list("volumes").find(|volume| volume["name"] == name)
    }

    /// Whether the pod was asked to be deleted, by a person, a controller or the node.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.pod["metadata"]["deletionTimestamp"].is_string()
    }

    /// Whether the pod as a whole has ended, well or not: no container of it is started again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let phase = self.pod["status"]["phase"].as_str();
        matches!(phase, Some("Failed" | "Succeeded"))
    }

    /// Whether Kubernetes decided to end the pod because of something else than the pod itself: an eviction, a
    /// preemption, a taint or the shutdown of its node.
    #[must_use]
    pub fn is_disrupted(&self) -> bool {
        self.disruptions().next().is_some()
    }

    /// Why Kubernetes decided so, if it says why.
    #[must_use]
    pub fn disruption(&self) -> Option<PodReason<'_>> {
        let told = self.disruptions().filter_map(|condition| {
            Some(PodReason {
                reason: condition["reason"].as_str()?,
                message: condition["message"].as_str()?,
            })
        });
        told.last()
    }

    /// Why the pod's status is as it is.
    #[must_use]
    pub fn reason(&self) -> Option<PodReason<'_>> {
        let status = &self.pod["status"];
        Some(PodReason {
            reason: status["reason"].as_str()?,
            message: status["message"].as_str().unwrap_or_default(),
        })
    }

    /// How many seconds the pod's containers have from SIGTERM to SIGKILL.
    #[must_use]
    pub fn grace_period_seconds(&self) -> Option<u64> {
        self.pod["spec"]["terminationGracePeriodSeconds"].as_u64()
    }

    fn disruptions(&self) -> impl Iterator<Item = &Value> {
        let conditions = self.pod["status"]["conditions"].as_array();
        let conditions = conditions.into_iter().flatten();
        conditions.filter(|it| it["type"] == "DisruptionTarget" && it["status"] == "True")
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.pod["spec"][key].as_array().into_iter().flatten()
    }
}

/// A reason from the status of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodReason<'a> {
    /// One word, for programs: `Evicted`.
    pub reason: &'a str,
    /// The message for people; may be empty.
    pub message: &'a str,
}

/// A container, as its pod's specification describes it.
#[derive(Clone, Copy, Debug)]
pub struct PodContainer<'a>(&'a Value);

impl<'a> PodContainer<'a> {
    /// The value of a field, by the keys that lead to it; `None` if it does not exist.
    #[must_use]
    pub fn field(self, keys: &[&str]) -> Option<&'a Value> {
        let value = keys.iter().fold(self.0, |value, key| &value[key]);
        (!value.is_null()).then_some(value)
    }

    /// Command and arguments, as far as they replace those of the image.
    pub fn command(self) -> impl Iterator<Item = &'a str> {
        let parts = ["command", "args"].into_iter();
        let parts = parts.filter_map(move |part| self.0[part].as_array());
        parts.flatten().filter_map(Value::as_str)
    }

    /// Requests and limits.
    #[must_use]
    pub fn resources(self) -> Option<Resources> {
        serde_json::from_value(self.0["resources"].clone()).ok()
    }

    /// The innermost volume mount that contains a path.
    #[must_use]
    pub fn mount(self, path: &str) -> Option<&'a Value> {
        let holds = |mount: &&Value| {
            let at = mount["mountPath"].as_str();
            let rest = at.and_then(|at| path.strip_prefix(at.trim_end_matches('/')));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mounts = self.0["volumeMounts"].as_array()?.iter();
        mounts
            .filter(holds)
            .max_by_key(|mount| mount["mountPath"].as_str().map(str::len))
    }
}

impl PodEvent {
    /// Name of the container that the event is about; `None` if it is about the pod.
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
    fn containers_of_every_kind_are_found() {
        let pod = serde_json::json!({"spec": {
            "containers": [{"name": "web", "command": ["nginx"], "args": ["-g", "daemon off;"], "volumeMounts": [
                {"name": "root", "mountPath": "/"}, {"name": "conf", "mountPath": "/etc/app/"},
            ]}],
            "initContainers": [{"name": "migrate"}, {"name": "mesh", "restartPolicy": "Always"}],
            "ephemeralContainers": [{"name": "debug", "livenessProbe": {"exec": {"command": ["true"]}}}],
            "volumes": [{"name": "conf", "emptyDir": {}}],
        }});
        let known = Kubernetes {
            pod,
            ..Kubernetes::default()
        };
        for name in ["web", "migrate", "mesh", "debug"] {
            assert!(known.container(name).is_some(), "{name}");
        }
        assert!(known.container("other").is_none());
        assert!(Kubernetes::default().container("web").is_none());
        let web = known.container("web").unwrap();
        let command: Vec<&str> = web.command().collect();
        assert_eq!(command, ["nginx", "-g", "daemon off;"]);
        let mount = |path| Some(web.mount(path)?["name"].as_str().unwrap());
        assert_eq!(mount("/etc/app/app.conf"), Some("conf"));
        assert_eq!(mount("/etc/app"), Some("conf"));
        assert_eq!(mount("/etc/application"), Some("root"));
        assert!(known.volume("conf").unwrap()["emptyDir"].is_object());
        let debug = known.container("debug").unwrap();
        assert!(debug.field(&["livenessProbe", "exec"]).is_some());
        assert!(debug.field(&["readinessProbe"]).is_none());
    }

    #[test]
    fn why_a_pod_ends_is_in_its_object() {
        let of = |pod| Kubernetes {
            pod,
            ..Kubernetes::default()
        };
        let none = Kubernetes::default();
        assert!(!none.is_deleted() && !none.is_over() && !none.is_disrupted());
        assert_eq!((none.reason(), none.grace_period_seconds()), (None, None));
        let pod = of(serde_json::json!({
            "metadata": {"deletionTimestamp": "2026-11-20T23:24:00Z"},
            "spec": {"terminationGracePeriodSeconds": 30},
            "status": {"phase": "Failed", "reason": "Evicted", "conditions": [
                {"type": "Ready", "status": "True", "reason": "Other", "message": "other"},
                {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "low"},
            ]},
        }));
        assert!(pod.is_deleted() && pod.is_over() && pod.is_disrupted());
        let reason = |reason, message| Some(PodReason { reason, message });
        assert_eq!(pod.disruption(), reason("TerminationByKubelet", "low"));
        assert_eq!(pod.reason(), reason("Evicted", ""));
        assert_eq!(pod.grace_period_seconds(), Some(30));
        let condition = serde_json::json!([{"type": "DisruptionTarget", "status": "False"}]);
        let spared =
            of(serde_json::json!({"status": {"phase": "Running", "conditions": condition}}));
        assert!(!spared.is_over() && !spared.is_disrupted());
        let condition = serde_json::json!([{"type": "DisruptionTarget", "status": "True"}]);
        let silent = of(serde_json::json!({"status": {"conditions": condition}}));
        assert!(silent.is_disrupted() && silent.disruption().is_none());
    }

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
