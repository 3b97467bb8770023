//! What the API server and the container runtime say of pods: names for containers, observations for the triggers.

use capture_format::WallTime;
use containers::directory::Pod;
use kubernetes::{
    Change,
    namespaces::NamespaceInfo,
    pods::{ContainerInfo, ContainerKind, ContainerState, PodChange, PodInfo, Terminated},
};
use triggers::{Ended, Observation, PodObservation, Subject, Time, Why};

use super::super::{
    clock::Clock,
    event_loop::Node,
    runtime::Everything,
    state::{
        outside::{Feed, IS_FORMER},
        pods::uid_of,
    },
};

impl Node {
    /// The watch of the node's pods reports a change.
    pub(crate) fn pod(&mut self, change: PodChange) {
        let at = self.clock.now();
        match change {
            PodChange::Synced => self.heard(Feed::Pods),
            PodChange::Changed(pod) => {
                if let Some(known) = self.pods.saw_pod(&pod) {
                    self.describe(&known);
                }
                self.name_all();
                self.observe_pod(at, &pod);
            }
            PodChange::Gone { uid } => {
                let uid = self.pods.pod_gone(uid);
                self.lives.pod_gone(&uid);
                self.loops.pod_gone(&uid);
                let decisions = self.orders.observe_pod(at, &uid, PodObservation::Gone);
                self.decide(decisions);
                let live = self.lives.subjects();
                self.histories
                    .pod_gone(&uid, |subject| live.contains(subject));
            }
        }
    }

    /// The watch of namespaces reports a change.
    pub(crate) fn namespace(&mut self, change: Change<NamespaceInfo>) {
        match change {
            Change::Synced => self.heard(Feed::Namespaces),
            Change::Changed(namespace) => {
                let name = namespace.name.clone();
                for pod in self.pods.saw_namespace(namespace) {
                    self.describe(&pod);
                }
                self.drop_former(&name);
            }
            Change::Gone { .. } => {}
        }
    }

    /// Removes what was captured in a former namespace of this name. (What an earlier agent left of such ones is removed
    /// before announcing begins.)
    fn drop_former(&mut self, name: &str) {
        let uid = |of: &str| self.pods.namespace_uid(of).filter(|_| of == name);
        let former = self.outside.former(uid);
        if self.outside.may_announce() && !former.is_empty() {
            let former = former.into_iter().map(|entry| (entry, IS_FORMER)).collect();
            self.tasks.spawn(self.outside.drop_all(former));
        }
    }

    fn observe_pod(&mut self, at: Time, pod: &PodInfo) {
        let uid = uid_of(pod);
        let mut decisions = Vec::new();
        if pod.terminating {
            let terminating = PodObservation::Terminating;
            decisions.extend(self.orders.observe_pod(at, uid, terminating));
        }
        if let Some((restarting, since)) = pod.all_restarting {
            let observation = match restarting {
                true => PodObservation::RestartsAll(self.clock.of_api(since)),
                false => PodObservation::RestartedAll(self.clock.of_api(since)),
            };
            decisions.extend(self.orders.observe_pod(at, uid, observation));
        }
        for container in &pod.containers {
            let subject = Subject {
                pod_uid: uid.clone(),
                container: container.name.clone(),
            };
            let mounts = &container.secret_mounts;
            if !mounts.is_empty() && !self.orders.is_off(&subject) {
                self.histories.set_secret_mounts(&subject, mounts);
            }
            for (time, observation) in said_of(self.clock, at, pod, container) {
                decisions.extend(self.orders.observe(time, &subject, observation));
            }
            self.pods.saw_state(self.clock, &subject, container);
        }
        self.decide(decisions);
        self.observe_not_ready();
    }

    /// Reports containers whose readiness probe has failed to the triggers.
    pub(crate) fn observe_not_ready(&mut self) {
        let now = self.clock.now();
        for subject in self.pods.not_ready(now) {
            let decisions = self.orders.observe(now, &subject, Observation::NotReady);
            self.decide(decisions);
        }
    }

    /// The container runtime has been found, or has come back: what runs gets its names, what ended its counts.
    pub(crate) fn found_runtime(&mut self, all: &Everything) {
        let at = self.clock.now();
        self.pods.saw_runtime(all);
        self.name_all();
        self.ask_runtime_again();
        for status in &all.containers {
            let Some(identity) = self.pods.container(&status.container.id) else {
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
                    status.started_at.map(|at| self.clock.of_day(WallTime(at)))
                },
            };
            let decisions = self.orders.observe(at, &subject, count);
            self.decide(decisions);
        }
    }

    /// Describes a pod to the triggers, as far as it is known, and drops containers that are opted out.
    pub(crate) fn describe(&mut self, pod: &Pod) {
        let described = PodObservation::Described(self.pods.describe(pod));
        let at = self.clock.now();
        let decisions = self.orders.observe_pod(at, &pod.uid, described);
        self.decide(decisions);
        self.heed(&pod.uid);
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
    if let (ContainerKind::Sidecar, Some(done)) = (container.kind, pod.done) {
        let done = time(done).min(now);
        said.push((done, Observation::Killed(Why::PodDone)));
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
