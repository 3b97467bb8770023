//! Trims a pod of the API to what is kept of it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{self as core, Pod};
use serde::Serialize;
use serde_json::{Value, json};

use super::{ContainerInfo, ContainerKind, ContainerState, OUR_ANNOTATIONS, PodInfo, Terminated};
use crate::{owner::POD_TEMPLATE_HASH, text::cut};

/// How many bytes of a runtime's message are kept. The kubelet keeps 4,096 bytes of a termination message.
const MESSAGE_LIMIT: usize = 4096;
/// The annotation of a mirror pod. It is the UID that the kubelet gave to the static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// `status.reason` of a pod that the kubelet ends: pkg/kubelet/eviction, preemption and nodeshutdown.
const ENDED_BY_KUBELET: [&str; 4] = ["Evicted", "Preempting", "NodeShutdown", "Terminated"];
/// The condition of a pod all of whose containers are restarted (Kubernetes 1.35, KEP 5532).
const ALL_RESTARTING: &str = "AllContainersRestarting";

/// Fields of a container's specification that are kept as they are.
const SPECIFIED: [&str; 11] = [
    "name",
    "command",
    "args",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// Trims a pod; `None` for a pod without namespace, name or UID.
pub(super) fn trim(pod: Pod) -> Option<PodInfo> {
    let object = object(&pod);
    let metadata = pod.metadata;
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let done = done(&spec, status.container_statuses.as_deref());
    let mut states = Vec::new();
    for list in [
        status.init_container_statuses,
        status.container_statuses,
        status.ephemeral_container_statuses,
    ] {
        states.extend(list.into_iter().flatten());
    }
    let secrets = Secrets::of(spec.volumes.unwrap_or_default());
    let init = spec.init_containers.into_iter().flatten().map(|c| {
        let kind = match c.restart_policy.as_deref() {
            Some("Always") => ContainerKind::Sidecar,
            _ => ContainerKind::Init,
        };
        let probe = c.readiness_probe;
        (kind, c.name, c.image, c.volume_mounts, probe)
    });
    let app = spec.containers.into_iter().map(|c| {
        let (kind, probe) = (ContainerKind::App, c.readiness_probe);
        (kind, c.name, c.image, c.volume_mounts, probe)
    });
    let ephemeral = spec.ephemeral_containers.into_iter().flatten().map(|c| {
        let kind = ContainerKind::Ephemeral;
        (kind, c.name, c.image, c.volume_mounts, None)
    });
    let containers = init.chain(app).chain(ephemeral);
    let containers = containers.map(|(kind, name, image, mounts, probe)| {
        // Names are unique in all three lists together.
        let found = states.iter().position(|state| state.name == name);
        let status = found.map(|at| states.swap_remove(at)).unwrap_or_default();
        ContainerInfo {
            unready_after: unready_after(&status, probe),
            kind,
            name,
            image: image.unwrap_or_default(),
            image_id: status.image_id,
            id: status.container_id.and_then(bare_id),
            restart_count: u32::try_from(status.restart_count).unwrap_or(0),
            state: state(status.state),
            last: status
                .last_state
                .and_then(|last| last.terminated)
                .map(terminated),
            secret_mounts: secrets.seen_at(mounts),
        }
    });
    let containers = containers.collect();
    let mut annotations = metadata.annotations.unwrap_or_default();
    let mirror = annotations.remove(MIRROR);
    annotations.retain(|key, _| key.starts_with(OUR_ANNOTATIONS));
    Some(PodInfo {
        namespace: metadata.namespace?,
        name: metadata.name?,
        uid: metadata.uid?,
        labels: metadata.labels.unwrap_or_default(),
        annotations,
        mirror,
        started: status.start_time.map(|time| time.0),
        terminating: metadata.deletion_timestamp.is_some()
            || ENDED_BY_KUBELET.contains(&status.reason.as_deref().unwrap_or_default()),
        all_restarting: status
            .conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == ALL_RESTARTING)
            .and_then(|condition| {
                let since = condition.last_transition_time?;
                Some((condition.status == "True", since.0))
            }),
        done,
        phase: status.phase.unwrap_or_default(),
        object,
        containers,
    })
}

/// When the last ordinary container ended, if all have ended and the kubelet starts none of them again.
fn done(spec: &core::PodSpec, statuses: Option<&[core::ContainerStatus]>) -> Option<Timestamp> {
    let end = |container: &core::Container| {
        let mut statuses = statuses?.iter();
        let status = statuses.find(|status| status.name == container.name)?;
        let ended = status.state.as_ref()?.terminated.as_ref()?;
        let again = is_restarted(container, spec.restart_policy.as_deref(), ended.exit_code);
        ended.finished_at.as_ref().filter(|_| !again)
    };
    let ends: Option<Vec<_>> = spec.containers.iter().map(end).collect();
    ends?.into_iter().map(|time| time.0).max()
}

/// Whether the kubelet starts a container again that has exited with this code (`ShouldContainerBeRestarted` in
/// pkg/kubelet/container/helpers.go). A container's own rules and policy come before the policy of its pod.
fn is_restarted(container: &core::Container, of_pod: Option<&str>, code: i32) -> bool {
    let mut rules = container.restart_policy_rules.iter().flatten();
    let by_rule = rules.any(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let named = codes.values.iter().flatten().any(|value| *value == code);
            named == (codes.operator == "In")
        })
    });
    let policy = container.restart_policy.as_deref().or(of_pod);
    by_rule
        || match policy {
            Some("Never") => false,
            Some("OnFailure") => code != 0,
            _ => true,
        }
}

/// Volumes with the paths of their files that hold secrets.
struct Secrets(BTreeMap<String, Vec<String>>);

impl Secrets {
    /// A volume that is secret as a whole has a single empty path.
    fn of(volumes: Vec<core::Volume>) -> Self {
        let whole = || vec![String::new()];
        let paths = |volume: &core::Volume| {
            let csi = volume.csi.as_ref();
            if volume.secret.is_some()
                || csi.is_some_and(|csi| csi.driver == "secrets-store.csi.k8s.io")
            {
                return whole();
            }
            let projected = volume.projected.as_ref();
            let sources = projected.and_then(|projected| projected.sources.as_ref());
            let sources = sources.into_iter().flatten();
            if sources.clone().any(|source| source.secret.is_some()) {
                return whole();
            }
            sources
                .filter_map(|source| source.service_account_token.as_ref())
                .map(|token| format!("/{}", token.path))
                .collect()
        };
        Self(
            volumes
                .into_iter()
                .map(|volume| (volume.name.clone(), paths(&volume)))
                .filter(|(_, paths)| !paths.is_empty())
                .collect(),
        )
    }

    fn seen_at(&self, mounts: Option<Vec<core::VolumeMount>>) -> Vec<String> {
        let mounts = mounts.into_iter().flatten();
        mounts
            .filter_map(|mount| Some((self.0.get(&mount.name)?, mount.mount_path)))
            .flat_map(|(paths, at)| {
                let at = at.trim_end_matches('/').to_owned();
                paths.iter().map(move |path| format!("{at}{path}"))
            })
            .collect()
    }
}

fn object(pod: &Pod) -> Value {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    json!({
        "metadata": {
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
            "creationTimestamp": metadata.creation_timestamp,
            "deletionTimestamp": metadata.deletion_timestamp,
            "labels": metadata.labels.as_ref().and_then(|labels| {
                let (key, hash) = labels.get_key_value(POD_TEMPLATE_HASH)?;
                Some(json!({ key: hash }))
            }),
            "ownerReferences": metadata.owner_references,
        },
        "spec": {
            "initContainers": specified(spec.and_then(|spec| spec.init_containers.as_deref())),
            "containers": specified(spec.map(|spec| spec.containers.as_slice())),
            "ephemeralContainers": specified(spec.and_then(|spec| spec.ephemeral_containers.as_deref())),
        },
    })
}

fn specified<C: Serialize>(containers: Option<&[C]>) -> Value {
    let containers = containers.unwrap_or_default().iter();
    let containers = containers.filter_map(|container| {
        let mut container = serde_json::to_value(container).ok()?;
        container
            .as_object_mut()?
            .retain(|key, _| SPECIFIED.contains(&key.as_str()));
        Some(container)
    });
    containers.collect()
}

/// How long a running container may take until it counts as not ready, if it has a readiness probe: as long as the
/// probe takes to fail, with the API's defaults (Probe, Kubernetes API reference). The readiness probe is not executed
/// before the startup probe has succeeded.
fn unready_after(status: &core::ContainerStatus, probe: Option<core::Probe>) -> Option<Duration> {
    let probe = probe?;
    let runs = status.state.as_ref()?.running.is_some();
    if !runs || status.ready || status.started == Some(false) {
        return None;
    }
    let seconds =
        |of: Option<i32>, default| of.and_then(|it| u32::try_from(it).ok()).unwrap_or(default);
    let period = seconds(probe.period_seconds, 10);
    let failures = seconds(probe.failure_threshold, 3);
    let delay = seconds(probe.initial_delay_seconds, 0);
    Some(Duration::from_secs(
        u64::from(period) * u64::from(failures) + u64::from(delay),
    ))
}

fn state(state: Option<core::ContainerState>) -> ContainerState {
    let state = state.unwrap_or_default();
    if let Some(ended) = state.terminated {
        return ContainerState::Terminated(terminated(ended));
    }
    if let Some(running) = state.running {
        return ContainerState::Running {
            since: running.started_at.map(|time| time.0),
        };
    }
    // A container without a state is waiting (ContainerState, Kubernetes API reference).
    let waiting = state.waiting.unwrap_or_default();
    ContainerState::Waiting {
        reason: waiting.reason.unwrap_or_default(),
        message: cut(&waiting.message.unwrap_or_default(), MESSAGE_LIMIT),
    }
}

fn terminated(ended: core::ContainerStateTerminated) -> Terminated {
    Terminated {
        exit_code: ended.exit_code,
        signal: ended.signal.filter(|signal| *signal != 0),
        reason: ended.reason.unwrap_or_default(),
        message: cut(&ended.message.unwrap_or_default(), MESSAGE_LIMIT),
        started: ended.started_at.map(|time| time.0),
        finished: ended.finished_at.map(|time| time.0),
        container_id: ended.container_id.and_then(bare_id),
    }
}

/// Removes the runtime's name: `containerd://ID` becomes `ID`.
fn bare_id(id: String) -> Option<String> {
    let bare = id.split_once("://").map_or(id.as_str(), |(_, bare)| bare);
    (!bare.is_empty()).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(value: Value) -> PodInfo {
        trim(serde_json::from_value(value).unwrap()).unwrap()
    }

    #[test]
    fn containers_keep_their_kind_and_find_their_state_by_name() {
        let pod = trimmed(json!({
            "metadata": {
                "namespace": "shop", "name": "web", "uid": "u1", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"lastword.dev/payload": "none", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": {
                "initContainers": [{"name": "migrate", "image": "db"}, {"name": "mesh", "restartPolicy": "Always"}],
                "containers": [{"name": "web", "image": "nginx", "resources": {
                    "limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"cpu": "0.1"},
                }}, {"name": "new"}],
                "ephemeralContainers": [{"name": "debug"}],
            },
            "status": {
                "phase": "Running",
                "containerStatuses": [{
                    "name": "web", "image": "x", "imageID": "nginx@sha256:1", "ready": false, "restartCount": 5,
                    "containerID": "containerd://c5",
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": {
                        "exitCode": 137, "signal": 9, "reason": "OOMKilled", "containerID": "containerd://c4",
                        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:07Z",
                        "message": "m".repeat(5000),
                    }},
                }],
                "initContainerStatuses": [
                    {"name": "mesh", "image": "x", "imageID": "", "ready": true, "restartCount": 0, "containerID": "cri-o://m1",
                     "state": {"running": {"startedAt": "2026-01-01T00:00:01Z"}}},
                    {"name": "migrate", "image": "x", "imageID": "", "ready": true, "restartCount": 0, "containerID": "",
                     "state": {"terminated": {"exitCode": 0, "signal": 0}}},
                ],
            },
        }));
        let told: Vec<_> = pod
            .containers
            .iter()
            .map(|container| {
                (
                    container.kind,
                    container.name.as_str(),
                    container.id.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (ContainerKind::Init, "migrate", None),
                (ContainerKind::Sidecar, "mesh", Some("m1")),
                (ContainerKind::App, "web", Some("c5")),
                (ContainerKind::App, "new", None),
                (ContainerKind::Ephemeral, "debug", None),
            ]
        );
        let [migrate, mesh, web, new, _] = &pod.containers[..] else {
            panic!("five containers");
        };
        assert!(
            matches!(&migrate.state, ContainerState::Terminated(ended) if ended.exit_code == 0 && ended.signal.is_none())
        );
        assert!(matches!(
            mesh.state,
            ContainerState::Running { since: Some(_) }
        ));
        assert!(
            matches!(&web.state, ContainerState::Waiting { reason, .. } if reason == "CrashLoopBackOff")
        );
        assert!(matches!(&new.state, ContainerState::Waiting { reason, .. } if reason.is_empty()));
        let last = web.last.as_ref().unwrap();
        assert_eq!(
            (last.exit_code, last.signal, last.container_id.as_deref()),
            (137, Some(9), Some("c4"))
        );
        assert_eq!(last.message.len(), MESSAGE_LIMIT);
        assert_eq!(web.restart_count, 5);
        assert!(pod.terminating);
        assert_eq!(
            pod.annotations.into_keys().collect::<Vec<_>>(),
            ["lastword.dev/payload"]
        );
    }

    #[test]
    fn of_the_object_what_the_kubelet_goes_by_is_kept() {
        let probe = json!({"exec": {"command": ["cat", "/ok"]}, "failureThreshold": 2});
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5796d5bc7c", "uid": "u2"});
        let pod = trimmed(json!({
            "metadata": {
                "namespace": "shop", "name": "web", "uid": "u1", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{"manager": "kubectl"}],
                "creationTimestamp": "2025-12-31T00:00:00Z", "labels": {"app": "web", "pod-template-hash": "5796d5bc7c"},
                "ownerReferences": [owner],
            },
            "spec": {
                "initContainers": [{"name": "mesh", "startupProbe": probe}],
                "containers": [{
                    "name": "web", "image": "nginx", "command": ["nginx"], "livenessProbe": probe,
                    "env": [{"name": "TOKEN", "value": "hunter2"}],
                    "resources": {"limits": {"memory": "64Mi"}},
                    "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
                }],
                "nodeName": "n1",
            },
            "status": {"phase": "Running"},
        }));
        assert_eq!(
            pod.object,
            json!({
                "metadata": {
                    "namespace": "shop", "name": "web", "uid": "u1", "deletionTimestamp": "2026-01-01T00:00:00Z",
                    "creationTimestamp": "2025-12-31T00:00:00Z", "labels": {"pod-template-hash": "5796d5bc7c"},
                    "ownerReferences": [owner],
                },
                "spec": {
                    "initContainers": [{"name": "mesh", "startupProbe": probe}],
                    "containers": [{
                        "name": "web", "command": ["nginx"], "livenessProbe": probe,
                        "resources": {"limits": {"memory": "64Mi"}},
                        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
                    }],
                    "ephemeralContainers": [],
                },
            })
        );
    }

    /// Kubernetes 1.34 and 1.35: KEP 5307 and KEP 5532.
    #[test]
    fn restart_rules_of_a_container_are_kept() {
        let worker = json!({
            "name": "worker",
            "restartPolicy": "Never",
            "restartPolicyRules": [
                {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},
                {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [43]}},
            ],
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
            "resources": {},
        });
        let pod = trimmed(json!({
            "metadata": {"namespace": "shop", "name": "batch", "uid": "u1"},
            "spec": {"initContainers": [worker.clone()], "containers": [worker.clone()]},
        }));
        let kinds: Vec<_> = pod
            .containers
            .iter()
            .map(|container| container.kind)
            .collect();
        assert_eq!(kinds, [ContainerKind::Init, ContainerKind::App]);
        for list in ["initContainers", "containers"] {
            assert_eq!(pod.object["spec"][list], json!([worker]), "{list}");
        }
    }

    #[test]
    fn a_readiness_probe_fails_after_as_long_as_it_takes() {
        let unready = |probe: Value, status: Value| {
            let pod = trimmed(json!({
                "metadata": {"namespace": "shop", "name": "web", "uid": "u1"},
                "spec": {"containers": [{"name": "web", "readinessProbe": probe}]},
                "status": {"containerStatuses": [status]},
            }));
            pod.containers[0].unready_after.map(|after| after.as_secs())
        };
        let status = |ready: bool, started: bool, state: &str| {
            json!({
                "name": "web", "image": "x", "imageID": "", "restartCount": 0, "ready": ready, "started": started,
                "state": {state: {}},
            })
        };
        let running = || status(false, true, "running");
        let own = json!({"initialDelaySeconds": 5, "periodSeconds": 2, "failureThreshold": 4});
        assert_eq!(unready(own, running()), Some(13));
        assert_eq!(unready(json!({}), running()), Some(30));
        assert_eq!(unready(Value::Null, running()), None);
        assert_eq!(unready(json!({}), status(true, true, "running")), None);
        assert_eq!(unready(json!({}), status(false, false, "running")), None);
        assert_eq!(unready(json!({}), status(false, false, "waiting")), None);
    }

    #[test]
    fn secrets_are_known_by_where_a_container_sees_them() {
        let pod = trimmed(json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u1"},
            "spec": {
                "volumes": [
                    {"name": "certs", "secret": {"secretName": "tls"}},
                    {"name": "config", "configMap": {"name": "c"}},
                    {"name": "api", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "ca"}}]}},
                ],
                "containers": [{"name": "web", "volumeMounts": [
                    {"name": "certs", "mountPath": "/etc/tls/"},
                    {"name": "config", "mountPath": "/etc/web"},
                    {"name": "api", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                ]}, {"name": "other"}],
            },
        }));
        assert_eq!(
            pod.containers[0].secret_mounts,
            [
                "/etc/tls",
                "/var/run/secrets/kubernetes.io/serviceaccount/token"
            ]
        );
        assert_eq!(pod.containers[1].secret_mounts, [""; 0]);
    }

    #[test]
    fn a_static_pod_keeps_both_uids_and_an_evicted_one_is_terminating() {
        let pod = trimmed(json!({
            "metadata": {"namespace": "kube-system", "name": "etcd-n1", "uid": "u1", "annotations": {"kubernetes.io/config.mirror": "m1"}},
            "status": {"phase": "Failed", "reason": "Evicted"},
        }));
        assert_eq!(
            (pod.uid.as_str(), pod.mirror.as_deref()),
            ("u1", Some("m1"))
        );
        assert!(pod.terminating && pod.annotations.is_empty());
    }

    #[test]
    fn a_pod_is_done_when_no_ordinary_container_is_started_again() {
        let ended = |name: &str, code: i32, second: &str| {
            json!({
                "name": name, "image": "x", "imageID": "", "restartCount": 0, "ready": false,
                "state": {"terminated": {"exitCode": code, "finishedAt": format!("2026-01-01T00:00:{second}Z")}},
            })
        };
        let runs = |name: &str| {
            json!({
                "name": name, "image": "x", "imageID": "", "restartCount": 0, "ready": true, "state": {"running": {}},
            })
        };
        let done = |policy: &str, more: Value, statuses: Value| {
            let mut first = json!({"name": "first"});
            first
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let pod = trimmed(json!({
                "metadata": {"namespace": "shop", "name": "batch", "uid": "u1"},
                "spec": {
                    "restartPolicy": policy,
                    "initContainers": [{"name": "mesh", "restartPolicy": "Always"}],
                    "containers": [first, {"name": "second"}],
                },
                "status": {"containerStatuses": statuses, "initContainerStatuses": [runs("mesh")]},
            }));
            pod.done.map(|time| time.to_string())
        };
        let both = |code| json!([ended("first", code, "07"), ended("second", 0, "05")]);
        let at = |second: &str| Some(format!("2026-01-01T00:00:{second}Z"));
        assert_eq!(done("Never", json!({}), both(3)), at("07"));
        assert_eq!(done("OnFailure", json!({}), both(0)), at("07"));
        assert_eq!(done("OnFailure", json!({}), both(3)), None);
        assert_eq!(done("Always", json!({}), both(0)), None);
        let one = json!([ended("first", 0, "07"), runs("second")]);
        assert_eq!(done("Never", json!({}), one), None);
        assert_eq!(done("Never", json!({}), Value::Null), None);
        // What the container says itself comes first.
        let own = json!({"restartPolicy": "Always"});
        assert_eq!(done("Never", own, both(0)), None);
        for (operator, code, is_done) in [
            ("In", 42, false),
            ("In", 3, true),
            ("NotIn", 42, true),
            ("NotIn", 3, false),
        ] {
            let rule =
                json!({"action": "Restart", "exitCodes": {"operator": operator, "values": [42]}});
            let own = json!({"restartPolicy": "Never", "restartPolicyRules": [rule]});
            assert_eq!(
                done("Never", own, both(code)).is_some(),
                is_done,
                "{operator} {code}"
            );
        }
    }

    #[test]
    fn that_all_containers_are_restarted_is_told_with_its_time() {
        let told = |conditions: Value| {
            let metadata = json!({"namespace": "shop", "name": "web", "uid": "u1"});
            let pod = json!({"metadata": metadata, "status": {"conditions": conditions}});
            trimmed(pod).all_restarting
        };
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:07Z"});
        let time = "2026-01-01T00:00:07Z".parse().unwrap();
        let ready = condition("Ready", "True");
        assert_eq!(told(json!([ready])), None);
        let restarting = condition(ALL_RESTARTING, "True");
        assert_eq!(told(json!([ready, restarting])), Some((true, time)));
        let over = condition(ALL_RESTARTING, "False");
        assert_eq!(told(json!([over])), Some((false, time)));
    }

    #[test]
    fn the_field_of_a_container_is_where_kubernetes_has_it() {
        assert_eq!(ContainerKind::App.field_path("web"), "spec.containers{web}");
        assert_eq!(
            ContainerKind::Sidecar.field_path("mesh"),
            "spec.initContainers{mesh}"
        );
        assert_eq!(
            ContainerKind::Ephemeral.field_path("debug"),
            "spec.ephemeralContainers{debug}"
        );
    }
}
