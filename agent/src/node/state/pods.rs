//! Names: what the API server and the container runtime have reported about pods, namespaces and containers.

use std::{collections::HashMap, sync::Arc};

use containers::directory::{ContainerSighting, Directory, Identity, Kind, Pod, PodSighting};
use kubernetes::{
    namespaces::NamespaceInfo,
    pods::{ContainerInfo, ContainerKind, PodInfo},
};
use serde_json::Value;
use triggers::{Description, Labels, Subject, Time};

use super::{
    super::{
        clock::Clock,
        runtime::{Everything, Who},
    },
    readiness::Unready,
};
use crate::host;

/// A pod of the node, as the API server reported it last.
struct KnownPod {
    /// Its UID, as the kubelet has it.
    uid: String,
    /// Its UID, as the API server has it: another one for static pods only.
    api_uid: String,
    /// Names and kinds of its containers, in the order of the specification.
    containers: Vec<(String, ContainerKind)>,
    /// See [`PodInfo::object`].
    object: Arc<Value>,
}

/// See the module.
pub(crate) struct Pods {
    directory: Directory,
    /// By namespace and name.
    known: HashMap<(String, String), KnownPod>,
    /// Labels and annotations of namespaces.
    namespaces: HashMap<String, NamespaceInfo>,
    unready: Unready,
    /// Whether there is an API server that will describe namespaces.
    has_api: bool,
}

impl Pods {
    pub(crate) fn new(has_api: bool) -> Self {
        Self {
            directory: Directory::default(),
            known: HashMap::new(),
            namespaces: HashMap::new(),
            unready: Unready::default(),
            has_api,
        }
    }

    /// The API server reports a pod. Returns what the directory knows about it.
    pub(crate) fn saw_pod(&mut self, pod: &PodInfo) -> Option<Arc<Pod>> {
        let uid = uid_of(pod);
        let containers = pod.containers.iter();
        let known = KnownPod {
            uid: uid.clone(),
            api_uid: pod.uid.clone(),
            containers: containers
                .map(|container| (container.name.clone(), container.kind))
                .collect(),
            object: Arc::new(pod.object.clone()),
        };
        self.known
            .insert((pod.namespace.clone(), pod.name.clone()), known);
        self.directory.saw_pod(&sighting(pod), host::uptime());
        self.directory.pod(uid)
    }

    /// The API server reports a container's state.
    pub(crate) fn saw_state(&mut self, clock: Clock, subject: &Subject, container: &ContainerInfo) {
        self.unready.see(clock, subject, container);
    }

    /// Containers whose readiness probe has failed by now; each is given once, until it was ready again.
    pub(crate) fn not_ready(&mut self, now: Time) -> Vec<Subject> {
        self.unready.due(now)
    }

    /// The pod of this UID at the API server is gone. Returns its UID as the kubelet has it.
    pub(crate) fn pod_gone(&mut self, api_uid: String) -> String {
        // A static pod's object has another UID than its containers.
        let is_it = |known: &&String| {
            let pod = self.directory.pod(known);
            pod.is_some_and(|pod| pod.api_uid.as_ref() == Some(&api_uid))
        };
        let known = self.known.values().map(|pod| &pod.uid).find(is_it).cloned();
        self.directory.pod_deleted(&api_uid, host::uptime());
        let uid = known.unwrap_or(api_uid);
        self.known.retain(|_, known| known.uid != uid);
        self.unready.forget(&uid);
        uid
    }

    /// The API server reports a namespace. Returns the pods in it, if anything is new.
    pub(crate) fn saw_namespace(&mut self, namespace: NamespaceInfo) -> Vec<Arc<Pod>> {
        let name = namespace.name.clone();
        if self.namespaces.insert(name.clone(), namespace.clone()) == Some(namespace) {
            return Vec::new();
        }
        let here = self.known.iter().filter(|((of, _), _)| *of == name);
        here.filter_map(|(_, known)| self.directory.pod(&known.uid))
            .collect()
    }

    /// UID of the namespace that has this name now, as far as the API server has reported it.
    pub(crate) fn namespace_uid(&self, name: &str) -> Option<&String> {
        self.namespaces.get(name).map(|namespace| &namespace.uid)
    }

    /// All that the container runtime has.
    pub(crate) fn saw_runtime(&mut self, all: &Everything) {
        let statuses = all.containers.iter();
        let containers: Vec<_> = statuses.map(|status| status.container.clone()).collect();
        self.directory
            .saw_cri(&all.sandboxes, &containers, host::uptime());
    }

    /// What the container runtime answered about one id.
    pub(crate) fn saw(&mut self, who: &Who) {
        match who {
            Who::Container(container) => self.directory.saw_container(container, host::uptime()),
            Who::Sandbox(sandbox) => self.directory.saw_sandbox(sandbox, host::uptime()),
        }
    }

    /// Forgets what nobody has asked for in a long time.
    pub(crate) fn expire(&mut self) {
        self.directory.expire(host::uptime());
    }

    /// Whether this id is a pause container's.
    pub(crate) fn is_sandbox(&self, id: &str) -> bool {
        self.directory.is_sandbox(id)
    }

    /// Who the container with this id is.
    pub(crate) fn container(&self, id: &str) -> Option<Identity> {
        self.directory.container(id)
    }

    /// All that is known of a pod, for the triggers: until the API server is heard, that is what the runtime knows.
    pub(crate) fn describe(&self, pod: &Pod) -> Description {
        let namespace = self.namespaces.get(&pod.namespace);
        let containers = self.with_uid(&pod.uid).into_iter();
        let containers = containers.flat_map(|known| &known.containers);
        let ephemeral = containers.filter(|(_, kind)| *kind == ContainerKind::Ephemeral);
        Description {
            namespace: Some(pod.namespace.clone()),
            labels: Some(pod.labels.clone()),
            annotations: pod.annotations.clone(),
            namespace_labels: namespace.map(|namespace| namespace.labels.clone()),
            namespace_annotations: match namespace {
                Some(namespace) => Some(namespace.annotations.clone()),
                // Nobody will report them.
                None => (!self.has_api).then(Labels::new),
            },
            ephemeral: ephemeral.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// The pod's object, as the API server reported it last; null if it did not.
    pub(crate) fn object(&self, uid: &str) -> Arc<Value> {
        self.with_uid(uid)
            .map_or_else(Arc::default, |pod| pod.object.clone())
    }

    /// Whether the API server knows a pod of this UID here.
    pub(crate) fn has(&self, uid: &str) -> bool {
        self.with_uid(uid).is_some()
    }

    fn with_uid(&self, uid: &str) -> Option<&KnownPod> {
        self.known.values().find(|known| known.uid == uid)
    }

    /// The UID of the pod of this name.
    pub(crate) fn uid(&self, namespace: &str, name: &str) -> Option<&String> {
        let known = self.known.get(&(namespace.to_owned(), name.to_owned()));
        known.map(|known| &known.uid)
    }

    /// Whether there is a pod of this name here, with this UID (the kubelet's or the API server's) if one is given.
    pub(crate) fn is_here(&self, namespace: &str, name: &str, uid: Option<&String>) -> bool {
        let known = self.known.get(&(namespace.to_owned(), name.to_owned()));
        known.is_some_and(|known| uid.is_none_or(|uid| [&known.uid, &known.api_uid].contains(&uid)))
    }

    /// The containers of a pod, as far as the API server has reported them, in the order of the specification.
    pub(crate) fn containers_of(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Iterator<Item = (Subject, ContainerKind)> {
        let known = self.known.get(&(namespace.to_owned(), name.to_owned()));
        known.into_iter().flat_map(|known| {
            let subject = |name: &String| Subject {
                pod_uid: known.uid.clone(),
                container: name.clone(),
            };
            let containers = known.containers.iter();
            containers.map(move |(name, kind)| (subject(name), *kind))
        })
    }
}

/// A pod's UID, as the kubelet has it.
pub(crate) fn uid_of(pod: &PodInfo) -> &String {
    pod.mirror.as_ref().unwrap_or(&pod.uid)
}

fn sighting(pod: &PodInfo) -> PodSighting {
    PodSighting {
        uid: pod.uid.clone(),
        mirror: pod.mirror.clone(),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        labels: pod.labels.clone(),
        annotations: pod.annotations.clone(),
        containers: pod
            .containers
            .iter()
            .map(|container| ContainerSighting {
                name: container.name.clone(),
                kind: match container.kind {
                    ContainerKind::Init => Kind::Init,
                    ContainerKind::Sidecar => Kind::Sidecar,
                    ContainerKind::App => Kind::App,
                    ContainerKind::Ephemeral => Kind::Ephemeral,
                },
                image: container.image.clone(),
                image_id: container.image_id.clone(),
                restart_count: container.restart_count,
                current: container.id.clone(),
                previous: container
                    .last
                    .as_ref()
                    .and_then(|last| last.container_id.clone()),
            })
            .collect(),
    }
}
