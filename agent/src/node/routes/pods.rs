//! What the API server and the container runtime say of pods: names for the directory, observations for the triggers.

use std::sync::Arc;

use containers::directory::{ContainerSighting, Kind, Pod, PodSighting};
use kubernetes::pods::{
    ContainerInfo, ContainerKind, ContainerState, PodChange, PodInfo, Terminated,
};
use kubernetes::{Change, namespaces::NamespaceInfo};
use triggers::{Description, Ended, Labels, Observation, PodObservation, Subject, Time};

use super::super::{
    clock::Clock,
    event_loop::{KnownPod, Node},
    runtime::Everything,
};
use crate::host;

impl Node {
    /// The watch of the node's pods tells of one.
    pub(crate) fn pod(&mut self, change: PodChange) {
        let (now, at) = (host::uptime(), self.clock.now());
        match change {
            PodChange::Synced => {
                self.heard.pods = true;
                self.heard();
            }
            PodChange::Changed(pod) => {
                let uid = pod.mirror.as_ref().unwrap_or(&pod.uid);
                let known = KnownPod {
                    uid: uid.clone(),
                    api_uid: pod.uid.clone(),
                    containers: pod
                        .containers
                        .iter()
                        .map(|container| (container.name.clone(), container.kind))
                        .collect(),
                    object: Arc::new(pod.object.clone()),
                };
                self.pods
                    .insert((pod.namespace.clone(), pod.name.clone()), known);
                self.directory.saw_pod(&sighting(&pod), now);
                if let Some(known) = self.directory.pod(uid) {
                    self.describe(&known);
                }
                self.name_all();
                self.observe_pod(at, &pod);
            }
            PodChange::Gone { uid } => {
                // A static pod's object has another UID than its containers.
                let is_it = |known: &&String| {
                    let pod = self.directory.pod(known);
                    pod.is_some_and(|pod| pod.api_uid.as_ref() == Some(&uid))
                };
                let known = self.pods.values().map(|pod| &pod.uid).find(is_it).cloned();
                self.directory.pod_deleted(&uid, now);
                let uid = known.unwrap_or(uid);
                self.pods.retain(|_, known| known.uid != uid);
                self.unready.forget(&uid);
                self.off.retain(|subject, _| subject.pod_uid != uid);
                let decisions = self.machine.observe_pod(at, &uid, PodObservation::Gone);
                self.decide(decisions);
                let alive: Vec<&Subject> = self.live.values().map(|live| &live.subject).collect();
                self.subjects.retain(|subject, runs| {
                    subject.pod_uid != uid || runs.ending > 0 || alive.contains(&subject)
                });
            }
        }
    }

    /// The watch of namespaces tells of one.
    pub(crate) fn namespace(&mut self, change: Change<NamespaceInfo>) {
        let namespace = match change {
            Change::Changed(namespace) => namespace,
            Change::Synced => {
                self.heard.namespaces = true;
                return self.heard();
            }
            Change::Gone { .. } => return,
        };
        let name = namespace.name.clone();
        if self.namespaces.insert(name.clone(), namespace.clone()) == Some(namespace) {
            return;
        }
        let here = self.pods.iter().filter(|((of, _), _)| *of == name);
        let pods: Vec<_> = here
            .filter_map(|(_, known)| self.directory.pod(&known.uid))
            .collect();
        for pod in pods {
            self.describe(&pod);
        }
    }

    fn observe_pod(&mut self, at: Time, pod: &PodInfo) {
        let uid = pod.mirror.as_ref().unwrap_or(&pod.uid);
        let mut decisions = Vec::new();
        if pod.terminating {
            decisions.extend(
                self.machine
                    .observe_pod(at, uid, PodObservation::Terminating),
            );
        }
        if let Some((restarting, since)) = pod.all_restarting {
            let observation = match restarting {
                true => PodObservation::RestartsAll(self.clock.of_api(since)),
                false => PodObservation::RestartedAll(self.clock.of_api(since)),
            };
            decisions.extend(self.machine.observe_pod(at, uid, observation));
        }
        for container in &pod.containers {
            let subject = Subject {
                pod_uid: uid.clone(),
                container: container.name.clone(),
            };
            if !container.secret_mounts.is_empty() && !self.is_off(&subject) {
                let runs = self.subjects.entry(subject.clone()).or_default();
                runs.secret_mounts.clone_from(&container.secret_mounts);
            }
            for (time, observation) in said_of(self.clock, at, pod, container) {
                decisions.extend(self.machine.observe(time, &subject, observation));
            }
            self.unready.see(self.clock, &subject, container);
        }
        self.decide(decisions);
        self.tell_unready();
    }

    /// Tells the triggers of the containers whose readiness probe has failed.
    pub(crate) fn tell_unready(&mut self) {
        let now = self.clock.now();
        for subject in self.unready.due(now) {
            let decisions = self.machine.observe(now, &subject, Observation::NotReady);
            self.decide(decisions);
        }
    }

    /// The container runtime has been found, or has come back: what runs gets its names, what ended its counts.
    pub(crate) fn found_runtime(&mut self, all: &Everything) {
        let (now, at) = (host::uptime(), self.clock.now());
        let containers: Vec<_> = all
            .containers
            .iter()
            .map(|status| status.container.clone())
            .collect();
        self.directory.saw_cri(&all.sandboxes, &containers, now);
        self.name_all();
        self.ask_again();
        for status in &all.containers {
            let Some(identity) = self.directory.container(&status.container.id) else {
                continue;
            };
            self.describe(&identity.pod);
            let subject = Subject {
                pod_uid: identity.pod.uid.clone(),
                container: identity.name.clone(),
            };
            let ended = status.finished_at;
            let count = Observation::RestartCount {
                count: identity.attempt,
                since: None,
                last: if ended.is_some() {
                    None
                } else {
                    status.started_at.map(|at| self.clock.of_day(at))
                },
            };
            let decisions = self.machine.observe(at, &subject, count);
            self.decide(decisions);
        }
    }

    /// Tells the triggers of a pod whatever of it is known: until the API server is heard, that is what the runtime knows.
    pub(crate) fn describe(&mut self, pod: &Arc<Pod>) {
        let namespace = self.namespaces.get(&pod.namespace);
        let known = self.pods.values().find(|known| known.uid == pod.uid);
        let containers = known.into_iter().flat_map(|known| &known.containers);
        let ephemeral = containers.filter(|(_, kind)| *kind == ContainerKind::Ephemeral);
        let description = Description {
            namespace: Some(pod.namespace.clone()),
            labels: Some(pod.labels.clone()),
            annotations: pod.annotations.clone(),
            namespace_labels: namespace.map(|namespace| namespace.labels.clone()),
            namespace_annotations: match namespace {
                Some(namespace) => Some(namespace.annotations.clone()),
                // Nobody will tell.
                None => self.clients.kube.is_none().then(Labels::new),
            },
            ephemeral: ephemeral.map(|(name, _)| name.clone()).collect(),
        };
        let at = self.clock.now();
        let described = PodObservation::Described(description);
        let decisions = self.machine.observe_pod(at, &pod.uid, described);
        self.decide(decisions);
        self.heed(&pod.uid);
    }

    fn name_all(&mut self) {
        for cgroup in self.unnamed() {
            self.name(cgroup);
        }
        self.name_vanished();
    }
}

/// What a container's status says.
fn said_of(
    clock: Clock,
    now: Time,
    pod: &PodInfo,
    container: &ContainerInfo,
) -> Vec<(Time, Observation)> {
    let time = |timestamp| clock.of_api(timestamp);
    // In a container that waits it is the end of the newest run.
    let runs = matches!(container.state, ContainerState::Running { .. });
    let last = container.last.as_ref().filter(|_| runs);
    let last = last.and_then(|last| last.finished).map(time);
    let mut said = vec![(
        now,
        Observation::RestartCount {
            count: container.restart_count,
            since: pod.started.map(time),
            last,
        },
    )];
    let over = match &container.state {
        ContainerState::Terminated(over) => Some((over, container.restart_count + 1)),
        _ => container
            .last
            .as_ref()
            .map(|over| (over, container.restart_count)),
    };
    if let Some((over, run)) = over {
        said.push((
            over.finished
                .map_or(now, |finished| time(finished).min(now)),
            Observation::EndExplained(explained(over, run)),
        ));
    }
    if let ContainerState::Waiting { reason, .. } = &container.state {
        said.extend(Observation::of_waiting(reason).map(|waiting| (now, waiting)));
    }
    said
}

fn explained(over: &Terminated, run: u32) -> Ended {
    Ended {
        run,
        status: u8::try_from(over.exit_code)
            .ok()
            .map(triggers::ExitStatus::Code),
        // The kernel's record says that: the runtime's word may be wrong.
        oom_killed: false,
        start_failed: over.reason == "StartError",
        stopped: false,
        cause: None,
    }
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
