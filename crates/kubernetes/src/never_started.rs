//! Why a container of a pod was never started, as Kubernetes reports it.
//!
//! Where no process ever ran, nothing was recorded, and the reason is in the pod's status and Events: no node takes the
//! pod, an image cannot be pulled, a Secret or a ConfigMap does not exist, a volume cannot be mounted. A person asks
//! with their own rights (`view` has them).

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use kube::{Api, Client};

use crate::{
    Error, Who,
    error::{USER_GET_POD, call},
    events::{self, PodEvent},
    text::cut,
};

/// How many bytes of a message are cited.
const CITED: usize = 300;
/// How many pieces of evidence there are at most.
const PIECES: usize = 4;
/// Reasons of the kubelet's Events (pkg/kubelet/events/event.go of Kubernetes): a container or its image.
const FAILED: &[&str] = &["Failed", "InspectFailed", "ErrImageNeverPull"];
/// The same for volumes.
const MOUNTS: &[&str] = &["FailedMount", "FailedAttachVolume", "FailedMapVolume"];
/// The same for the pod's sandbox and network.
const SANDBOX: &[&str] = &[
    "FailedCreatePodSandBox",
    "NetworkNotReady",
    "FailedPodSandBoxStatus",
];

/// Why a container was never started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeverStarted {
    /// The container; `None` if it is about the whole pod.
    pub container: Option<String>,
    /// Why, as the rest of a sentence. Like all texts here it is not escaped.
    pub why: String,
    /// What Kubernetes reports.
    pub evidence: Vec<String>,
    /// What to do.
    pub next_step: String,
}

/// Asks why the pod, or one container of it, was never started. `None` if there is no such pod, or if every container
/// has been started.
///
/// # Errors
/// The API server is away, or forbids reading the pod. Without the right to list Events, the status alone decides.
pub async fn ask(
    client: &Client,
    namespace: &str,
    pod: &str,
) -> Result<Option<NeverStarted>, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let Some(pod) = call(USER_GET_POD, api.get_opt(pod)).await? else {
        return Ok(None);
    };
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let events = match events::of_pod(client, Who::User, namespace, &uid).await {
        Err(Error::Forbidden { .. }) => Vec::new(),
        events => events?,
    };
    Ok(judge(&pod, &events))
}

/// The same, of what was answered.
fn judge(pod: &Pod, events: &[PodEvent]) -> Option<NeverStarted> {
    let status = pod.status.as_ref()?;
    let spec = pod.spec.as_ref()?;
    if status.phase.as_deref() == Some("Failed") && statuses(pod).next().is_none() {
        return Some(refused_by_the_node(pod, events));
    }
    let scheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled");
    if spec.node_name.is_none() {
        let reason = scheduled.and_then(|condition| condition.reason.as_deref());
        let message = scheduled.and_then(|condition| condition.message.clone());
        return Some(not_scheduled(pod, reason, message, events));
    }
    let waiting = first_that_waits(pod)?;
    Some(waits(pod, waiting, events))
}

/// The containers' statuses in the order in which the kubelet starts the containers.
fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    })
}

/// What the pod waits for.
enum Waiting<'a> {
    /// A container that was never started.
    Container(&'a ContainerStatus),
    /// The pod's containers have no status yet.
    Pod,
}

fn first_that_waits(pod: &Pod) -> Option<Waiting<'_>> {
    if statuses(pod).next().is_none() {
        return Some(Waiting::Pod);
    }
    let ran = |one: &ContainerStatus| {
        let state = one.state.as_ref();
        one.restart_count > 0
            || state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
            || one
                .last_state
                .as_ref()
                .is_some_and(|last| last.terminated.is_some())
    };
    let reason = |one: &ContainerStatus| {
        let waiting = one.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.and_then(|waiting| waiting.reason.clone())
    };
    let ended_well = |one: &ContainerStatus| {
        let ended = one
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        ended.is_some_and(|ended| ended.exit_code == 0)
    };
    let (ran, waiting): (Vec<_>, Vec<_>) = statuses(pod).partition(|one| ran(one));
    // A container that waits for init containers has no reason of its own; nor is there one if an init container still
    // runs or failed.
    let of_its_own = waiting
        .iter()
        .find(|one| reason(one).as_deref() != Some("PodInitializing"));
    let first = || {
        waiting
            .first()
            .filter(|_| ran.iter().all(|one| ended_well(one)))
    };
    of_its_own.or_else(first).map(|one| Waiting::Container(one))
}

fn waits(pod: &Pod, waiting: Waiting<'_>, events: &[PodEvent]) -> NeverStarted {
    let container = match waiting {
        Waiting::Container(status) => Some(status),
        Waiting::Pod => None,
    };
    let name = container.map(|status| status.name.clone());
    let state = container
        .and_then(|status| status.state.as_ref())
        .and_then(|state| state.waiting.as_ref());
    let reason = state
        .and_then(|state| state.reason.as_deref())
        .unwrap_or_default();
    let message = state
        .and_then(|state| state.message.as_deref())
        .unwrap_or_default();
    let image = name
        .as_ref()
        .and_then(|name| image_of(pod, name))
        .unwrap_or_default();
    let about = |event: &&PodEvent| {
        let path = event.field_path.as_str();
        let of_container = path.split(['{', '}']).nth(1);
        of_container.is_none() || of_container == name.as_deref()
    };
    let warnings: Vec<&PodEvent> = events
        .iter()
        .rev()
        .filter(|event| event.warning)
        .filter(about)
        .collect();
    let mut evidence: Vec<String> = Vec::new();
    if let Some(name) = name.as_ref().filter(|_| !reason.is_empty()) {
        evidence.push(match message {
            "" => format!("container {name} waits: {reason}"),
            message => format!("container {name} waits: {reason}: {}", one_line(message)),
        });
    }
    // The container's own message may only say that it is tried again; an Event says what failed.
    let failures: Vec<&str> = std::iter::once(message)
        .chain(warnings.iter().map(|event| event.message.as_str()))
        .filter(|text| !text.is_empty())
        .collect();
    let (why, next_step, cited) = match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "SignatureValidationFailed" => {
            let (why, next_step) = image_failure(reason, image, &failures);
            (why, next_step, FAILED)
        }
        "CreateContainerConfigError" => {
            let (why, next_step) = configuration_failure(&failures);
            (why, next_step, FAILED)
        }
        "" | "ContainerCreating" | "PodInitializing" => being_made(&warnings, events),
        _ => {
            let said = failures
                .first()
                .map_or_else(|| reason.to_owned(), |text| one_line(text));
            (
                format!("the container runtime could not make it: {said}"),
                "Correct what the container runtime complains of.".to_owned(),
                FAILED,
            )
        }
    };
    evidence.extend(
        events
            .iter()
            .rev()
            .filter(about)
            .filter(|event| cited.contains(&event.reason.as_str()))
            // `Error: ErrImagePull` only repeats the status.
            .filter(|event| {
                let rest = event.message.strip_prefix("Error: ");
                rest.is_none_or(|rest| rest.contains(' '))
            })
            .map(event_line),
    );
    evidence.truncate(PIECES);
    NeverStarted {
        container: name,
        why,
        evidence,
        next_step,
    }
}

/// Why a container is not there yet: what, what to do, and the reasons of the Events that say so.
fn being_made(
    warnings: &[&PodEvent],
    events: &[PodEvent],
) -> (String, String, &'static [&'static str]) {
    let newest = |reasons: &[&str]| {
        let mut of = warnings
            .iter()
            .filter(|event| reasons.contains(&event.reason.as_str()));
        // Another Event may only say that the time for mounting ran out.
        let says_why = |event: &&&PodEvent| !event.message.contains("timed out waiting");
        of.clone().find(says_why).or_else(|| of.next())
    };
    if let Some(event) = newest(MOUNTS) {
        let (why, next_step) = mount_failure(&event.message);
        return (why, next_step, MOUNTS);
    }
    if let Some(event) = newest(SANDBOX) {
        return (
            format!(
                "the node cannot make its sandbox: {}",
                one_line(&event.message)
            ),
            "Look at the node's network plugin and container runtime (`kubectl describe node`)."
                .to_owned(),
            SANDBOX,
        );
    }
    let image = |event: &&PodEvent| matches!(event.reason.as_str(), "Pulling" | "Pulled");
    match events.iter().rev().find(image) {
        Some(event) if event.reason == "Pulling" => (
            format!(
                "its image is still being pulled: {}",
                one_line(&event.message)
            ),
            "Wait, or use a smaller image.".to_owned(),
            &["Pulling"],
        ),
        _ => (
            "its node has not started it yet, and reports no reason".to_owned(),
            "Look at the node: `kubectl describe node`.".to_owned(),
            &[],
        ),
    }
}

fn refused_by_the_node(pod: &Pod, events: &[PodEvent]) -> NeverStarted {
    let status = pod.status.as_ref();
    let reason = status
        .and_then(|status| status.reason.clone())
        .unwrap_or_default();
    let message = status
        .and_then(|status| status.message.clone())
        .unwrap_or_default();
    NeverStarted {
        container: None,
        why: format!("its node did not take it: {}", one_line(&join(&reason, &message))),
        evidence: events
            .iter()
            .rev()
            .filter(|event| event.warning)
            .map(event_line)
            .take(PIECES)
            .collect(),
        next_step: "Look at the pod's requests and constraints, and at what the node has left (`kubectl describe node`)."
            .to_owned(),
    }
}

fn not_scheduled(
    pod: &Pod,
    reason: Option<&str>,
    message: Option<String>,
    events: &[PodEvent],
) -> NeverStarted {
    let spec = pod.spec.as_ref();
    let (why, next_step) = match (reason, message) {
        (Some("SchedulingGated"), _) => {
            let gates = spec.and_then(|spec| spec.scheduling_gates.as_ref());
            let names = gates.into_iter().flatten().map(|gate| gate.name.as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            (
                format!("it waits for its scheduling gates: {names}"),
                "Whoever set the gates has to remove them from spec.schedulingGates.".to_owned(),
            )
        }
        (_, Some(message)) if !message.is_empty() => (
            format!("no node takes it: {}", one_line(&message)),
            "Compare what the pod asks for (requests, nodeSelector, affinity, tolerations, volumes) with the nodes."
                .to_owned(),
        ),
        _ => {
            let scheduler = spec.and_then(|spec| spec.scheduler_name.clone());
            let scheduler = scheduler.unwrap_or_else(|| "default-scheduler".to_owned());
            (
                format!("the scheduler {scheduler} has not looked at it yet"),
                format!("Check that the scheduler {scheduler} runs."),
            )
        }
    };
    NeverStarted {
        container: None,
        why,
        evidence: events
            .iter()
            .rev()
            .filter(|event| event.reason == "FailedScheduling")
            .map(event_line)
            .take(1)
            .collect(),
        next_step,
    }
}

/// What a message about an image says: words, one of which is in it; what they mean; what to do. The first one counts:
/// registries answer "not found" also to those who may not see an image.
struct ImageFailure {
    words: &'static [&'static str],
    why: &'static str,
    next_step: &'static str,
}

const IMAGE_FAILURES: &[ImageFailure] = &[
    ImageFailure {
        words: &["toomanyrequests", "too many requests", "rate limit"],
        why: "the registry allows no more pulls for now",
        next_step: "Pull with an account (imagePullSecrets), through a mirror, or later.",
    },
    ImageFailure {
        words: &[
            "pull access denied",
            "unauthorized",
            "authentication required",
            "authorization failed",
            "no basic auth credentials",
            "forbidden",
            "access denied",
        ],
        why: "the registry gives no access to it, or has no such image",
        next_step: "Check the image's name, and imagePullSecrets of the pod or its service account.",
    },
    ImageFailure {
        words: &[
            "no such host",
            "dial tcp: lookup",
            "server misbehaving",
            "temporary failure in name resolution",
        ],
        why: "the name of its registry does not resolve on the node",
        next_step: "Check the registry in the image's name, and the node's DNS.",
    },
    ImageFailure {
        words: &[
            "x509",
            "certificate signed by",
            "tls: ",
            "server gave http response to https",
        ],
        why: "the node does not accept the certificate of its registry",
        next_step: "Give the node's container runtime the registry's certificate authority, or configure the registry there.",
    },
    ImageFailure {
        words: &[
            "connection refused",
            "i/o timeout",
            "deadline exceeded",
            "no route to host",
            "network is unreachable",
            "connection reset",
        ],
        why: "its registry cannot be reached from the node",
        next_step: "Check that the registry runs, and the way from the node to it.",
    },
    ImageFailure {
        words: &["no space left on device"],
        why: "the node's disk is full",
        next_step: "Free space on the node, or give it a larger disk.",
    },
    ImageFailure {
        words: &[
            "no match for platform",
            "no matching manifest",
            "no child with platform",
        ],
        why: "the image has no variant for the node's architecture",
        next_step: "Build the image for that architecture too, or keep the pod off such nodes (kubernetes.io/arch).",
    },
    ImageFailure {
        words: &[
            "not found",
            "manifest unknown",
            "does not exist",
            "name unknown",
        ],
        why: "there is no such image or tag",
        next_step: "Correct the image's name or tag, or push the image.",
    },
];

fn image_failure(reason: &str, image: &str, failures: &[&str]) -> (String, String) {
    let subject = format!("the image \"{image}\" cannot be pulled");
    match reason {
        "InvalidImageName" => {
            return (
                format!("\"{image}\" is no valid name of an image"),
                "Correct the image's name.".to_owned(),
            );
        }
        "ErrImageNeverPull" => {
            return (
                format!("the image \"{image}\" is not on the node, and imagePullPolicy is Never"),
                "Bring the image to the node, or change imagePullPolicy.".to_owned(),
            );
        }
        _ => {}
    }
    let says = |text: &str, failure: &ImageFailure| {
        let text = text.to_lowercase();
        failure.words.iter().any(|word| text.contains(word))
    };
    let known = failures.iter().find_map(|text| {
        // The message that a pull is tried again names the image, and nothing else.
        IMAGE_FAILURES
            .iter()
            .find(|failure| says(&without(text, image), failure))
    });
    match known {
        Some(failure) => (
            format!("{subject}: {}", failure.why),
            failure.next_step.to_owned(),
        ),
        None => {
            let said = failures.iter().map(|text| one_line(text)).next_back();
            (
                format!("{subject}: {}", said.unwrap_or_else(|| reason.to_owned())),
                "Correct what the container runtime complains of.".to_owned(),
            )
        }
    }
}

fn configuration_failure(failures: &[&str]) -> (String, String) {
    let said = failures
        .first()
        .map_or_else(String::new, |text| one_line(text));
    let missing = |kind: &str, word: &str| {
        let name = said
            .strip_prefix(&format!("{word} \""))?
            .strip_suffix("\" not found")?;
        Some((
            format!("the {kind} \"{name}\" does not exist"),
            format!("Create the {kind} in the pod's namespace, or correct its name."),
        ))
    };
    if let Some(missing) = missing("Secret", "secret").or_else(|| missing("ConfigMap", "configmap"))
    {
        return missing;
    }
    if said.starts_with("couldn't find key") {
        let why = format!("a key is missing: {said}");
        return (
            why,
            "Add the key, or correct its name in the pod.".to_owned(),
        );
    }
    if said.contains("runAsNonRoot") {
        return (
            format!("it must not run as root, and its image does: {said}"),
            "Set runAsUser, or use an image with another user.".to_owned(),
        );
    }
    (
        format!("its configuration is wrong: {said}"),
        "Correct what the kubelet complains of.".to_owned(),
    )
}

fn mount_failure(message: &str) -> (String, String) {
    let said = one_line(message);
    let volume = said.split_once("volume \"").and_then(|(_, rest)| {
        let (name, rest) = rest.split_once('"')?;
        let why = rest.split_once(" : ").or_else(|| rest.split_once(": "))?.1;
        Some((name.to_owned(), why.to_owned()))
    });
    let next_step = if said.contains("not found") {
        "Create what the volume refers to in the pod's namespace, or correct its name."
    } else {
        "Correct the volume, or look at the node and the storage driver."
    };
    let why = match volume {
        Some((name, why)) => format!("the volume \"{name}\" cannot be mounted: {why}"),
        None => format!("a volume cannot be mounted: {said}"),
    };
    (why, next_step.to_owned())
}

fn image_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let spec = pod.spec.as_ref()?;
    let all = spec.init_containers.iter().flatten();
    let mut all = all.chain(&spec.containers);
    let container: &Container = all.find(|container| container.name == name)?;
    container.image.as_deref()
}

fn event_line(event: &PodEvent) -> String {
    let PodEvent {
        reason,
        source,
        message,
        count,
        ..
    } = event;
    let times = match count {
        0 | 1 => String::new(),
        count => format!(", {count} times"),
    };
    format!("Event {reason} of {source}{times}: {}", one_line(message))
}

/// A text without a name in it: a name may contain any word.
fn without(text: &str, name: &str) -> String {
    match name {
        "" => text.to_owned(),
        name => text.replace(name, ""),
    }
}

fn join(reason: &str, message: &str) -> String {
    match (reason, message) {
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// A message in one line that is not too long.
fn one_line(text: &str) -> String {
    cut(
        &text.split_whitespace().collect::<Vec<_>>().join(" "),
        CITED,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(reason: &str, message: &str) -> PodEvent {
        PodEvent {
            uid: String::new(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            warning: !matches!(reason, "Pulling" | "Scheduled" | "BackOff"),
            count: 1,
            first: None,
            last: None,
            field_path: String::new(),
            source: "kubelet".to_owned(),
        }
    }

    fn pod(node: Option<&str>, status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "u1"},
            "spec": {
                "nodeName": node,
                "initContainers": [{"name": "setup", "image": "registry.example/setup:1"}],
                "containers": [{"name": "web", "image": "registry.example/not-found/web:1"}],
            },
            "status": status,
        }))
        .unwrap()
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"containerStatuses": [{
            "name": "web", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"waiting": {"reason": reason, "message": message}},
        }]})
    }

    fn why(pod: &Pod, events: &[PodEvent]) -> String {
        judge(pod, events).map_or_else(|| "started".to_owned(), |found| found.why)
    }

    #[test]
    fn why_an_image_cannot_be_pulled() {
        let pod = pod(
            Some("n1"),
            waiting(
                "ImagePullBackOff",
                "Back-off pulling image \"registry.example/not-found/web:1\"",
            ),
        );
        for (message, expected) in [
            (
                "Failed to pull image \"registry.example/not-found/web:1\": rpc error: code = NotFound desc = failed to pull and unpack image: failed to resolve reference \"registry.example/not-found/web:1\": registry.example/not-found/web:1: not found",
                "there is no such image or tag",
            ),
            (
                "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
                "the registry gives no access to it, or has no such image",
            ),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                "the registry gives no access to it, or has no such image",
            ),
            (
                "dial tcp: lookup registry.example on 10.0.0.2:53: no such host",
                "the name of its registry does not resolve on the node",
            ),
            (
                "dial tcp: lookup registry.example on 10.0.0.2:53: dial udp 10.0.0.2:53: connect: network is unreachable",
                "the name of its registry does not resolve on the node",
            ),
            (
                "dial tcp 10.0.0.9:443: connect: connection refused",
                "its registry cannot be reached from the node",
            ),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "the node does not accept the certificate of its registry",
            ),
            (
                "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit",
                "the registry allows no more pulls for now",
            ),
            (
                "no match for platform in manifest: not found",
                "the image has no variant for the node's architecture",
            ),
            ("something new", "something new"),
        ] {
            assert_eq!(
                why(
                    &pod,
                    &[
                        event("Failed", message),
                        event("Failed", "Error: ErrImagePull")
                    ]
                ),
                format!(
                    "the image \"registry.example/not-found/web:1\" cannot be pulled: {expected}"
                ),
                "{message}"
            );
        }
    }

    #[test]
    fn why_a_container_cannot_be_made() {
        for (reason, message, expected) in [
            (
                "CreateContainerConfigError",
                "secret \"db\" not found",
                "the Secret \"db\" does not exist",
            ),
            (
                "CreateContainerConfigError",
                "configmap \"web\" not found",
                "the ConfigMap \"web\" does not exist",
            ),
            (
                "CreateContainerConfigError",
                "couldn't find key password in Secret shop/db",
                "a key is missing: couldn't find key password in Secret shop/db",
            ),
            (
                "CreateContainerConfigError",
                "container has runAsNonRoot and image will run as root",
                "it must not run as root, and its image does: container has runAsNonRoot and image will run as root",
            ),
            (
                "ErrImageNeverPull",
                "Container image is not present with pull policy of Never",
                "the image \"registry.example/not-found/web:1\" is not on the node, and imagePullPolicy is Never",
            ),
            (
                "InvalidImageName",
                "couldn't parse image reference",
                "\"registry.example/not-found/web:1\" is no valid name of an image",
            ),
            (
                "CreateContainerError",
                "context deadline exceeded",
                "the container runtime could not make it: context deadline exceeded",
            ),
        ] {
            assert_eq!(
                why(&pod(Some("n1"), waiting(reason, message)), &[]),
                expected
            );
        }
    }

    #[test]
    fn why_a_volume_or_the_sandbox_cannot_be_made() {
        let pod = pod(Some("n1"), waiting("ContainerCreating", ""));
        let mount = event(
            "FailedMount",
            "MountVolume.SetUp failed for volume \"conf\" : configmap \"web-conf\" not found",
        );
        let late = event(
            "FailedMount",
            "Unable to attach or mount volumes: unmounted volumes=[conf], unattached volumes=[conf token]: timed out waiting for the condition",
        );
        assert_eq!(
            why(&pod, &[mount, late]),
            "the volume \"conf\" cannot be mounted: configmap \"web-conf\" not found"
        );
        let sandbox = event(
            "FailedCreatePodSandBox",
            "plugin type=\"bridge\" failed (add)",
        );
        assert_eq!(
            why(&pod, &[sandbox]),
            "the node cannot make its sandbox: plugin type=\"bridge\" failed (add)"
        );
        let pulling = event("Pulling", "Pulling image \"registry.example/web:1\"");
        assert_eq!(
            why(&pod, &[pulling]),
            "its image is still being pulled: Pulling image \"registry.example/web:1\""
        );
        assert_eq!(
            why(&pod, &[event("Scheduled", "")]),
            "its node has not started it yet, and reports no reason"
        );
    }

    #[test]
    fn why_a_pod_is_on_no_node() {
        let unschedulable = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu.",
        }]});
        assert_eq!(
            why(&pod(None, unschedulable), &[]),
            "no node takes it: 0/3 nodes are available: 3 Insufficient cpu."
        );
        assert_eq!(
            why(&pod(None, json!({"phase": "Pending"})), &[]),
            "the scheduler default-scheduler has not looked at it yet"
        );
        let refused =
            json!({"phase": "Failed", "reason": "NodeAffinity", "message": "Pod was rejected"});
        assert_eq!(
            why(&pod(Some("n1"), refused), &[]),
            "its node did not take it: NodeAffinity: Pod was rejected"
        );
    }

    #[test]
    fn what_has_run_is_left_to_the_captures() {
        let run = |state: Value| {
            json!({"containerStatuses": [{
                "name": "web", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state,
            }]})
        };
        for state in [
            json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
            json!({"terminated": {"exitCode": 1}}),
        ] {
            assert_eq!(judge(&pod(Some("n1"), run(state)), &[]), None);
        }
        let looping = json!({"containerStatuses": [{
            "name": "web", "ready": false, "restartCount": 3, "image": "", "imageID": "",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        }]});
        assert_eq!(judge(&pod(Some("n1"), looping), &[]), None);
    }

    #[test]
    fn an_init_container_that_waits_is_the_reason_and_one_that_runs_is_none() {
        let status = |setup: Value| {
            json!({
                "initContainerStatuses": [{
                    "name": "setup", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": setup,
                }],
                "containerStatuses": [{
                    "name": "web", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                    "state": {"waiting": {"reason": "PodInitializing"}},
                }],
            })
        };
        let waits = json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"db\" not found"}});
        let found = judge(&pod(Some("n1"), status(waits)), &[]).unwrap();
        assert_eq!(found.container.as_deref(), Some("setup"));
        assert_eq!(found.why, "the Secret \"db\" does not exist");
        assert_eq!(
            found.evidence,
            ["container setup waits: CreateContainerConfigError: secret \"db\" not found"]
        );
        let runs = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        assert_eq!(judge(&pod(Some("n1"), status(runs)), &[]), None);
    }
}
