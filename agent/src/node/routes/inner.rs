//! Containers inside a container, and other cgroups that a container makes inside its own.
//!
//! Whoever may write to a container's cgroup file system chooses names and numbers there. So a container inside another
//! one goes by the ids of both, the outer one first. Nobody is asked about its own id, and what its pod wants is what
//! the outer one's wants. If there are more cgroups than are recorded, that is said of the outer one.

use std::{borrow::Cow, time::Duration};

use capture_format::{BootTime, CgroupId, chain};
use kubernetes::{Client, Retry, Timestamp, pod_event::PodEvent, pods::ContainerKind};
use triggers::{Observation, Subject};

use super::super::event_loop::Node;

/// Between the ids of a container inside another one: no id has it.
const BETWEEN: char = '/';
/// `reason` of the Event about a container with too many cgroups.
const TURNED_AWAY: &str = "CgroupsNotRecorded";

impl Node {
    /// A container inside another one is recorded.
    pub(super) fn inner_started(
        &mut self,
        cgroup: CgroupId,
        outermost: CgroupId,
        own: &str,
        time: BootTime,
        counted: Option<u32>,
    ) {
        // If that one is not recorded any more, neither is this one.
        let Some(outer) = self.lives.get(outermost) else {
            return self.recording.let_go(cgroup);
        };
        let id = format!("{}{BETWEEN}{own}", outer.id);
        let subject = Subject {
            pod_uid: outer.subject.pod_uid.clone(),
            container: id.clone(),
        };
        let run = self.histories.start(&subject, time, counted);
        self.recording.set_run(cgroup, run);
        self.lives.start(cgroup, id, subject.clone(), run, time);
        let started = Observation::Started { run };
        let decisions = self.orders.observe(self.clock.at(time), &subject, started);
        self.decide(decisions);
    }

    /// The container whose annotations and name decide about a container: the outermost one around it.
    pub(crate) fn ruled_by<'a>(&self, subject: &'a Subject) -> Cow<'a, Subject> {
        let outer = subject.container.split_once(BETWEEN);
        match outer.and_then(|(id, _)| self.pods.container(id)) {
            Some(outer) => Cow::Owned(Subject {
                pod_uid: outer.pod.uid.clone(),
                container: outer.name,
            }),
            None => Cow::Borrowed(subject),
        }
    }

    /// Whether nothing of a container may be recorded.
    pub(crate) fn is_off(&self, subject: &Subject) -> bool {
        self.orders.is_off(&self.ruled_by(subject))
    }

    /// Whether nothing of a container may leave the agent. Of one without a name that is so if its pod is opted out.
    pub(crate) fn may_be_off(&self, subject: &Subject) -> bool {
        self.orders.may_be_off(&self.ruled_by(subject))
    }

    /// Cgroups inside a container are not recorded.
    pub(super) fn turns_away(&mut self, cgroup: CgroupId) {
        self.lives.turns_away(cgroup);
        self.report_turning_away(cgroup);
    }

    /// Says that cgroups inside a container are not recorded, if that is so and its names are known: once.
    pub(super) fn report_turning_away(&mut self, cgroup: CgroupId) {
        let Some(live) = self.lives.take_turning_away(cgroup) else {
            return;
        };
        let subject = &live.subject;
        tracing::warn!(
            pod_uid = subject.pod_uid,
            container = subject.container,
            "not all cgroups inside a container are recorded: {}",
            said()
        );
        let (Some(client), Some(identity)) =
            (self.clients.kube.clone(), self.pods.container(&live.id))
        else {
            return;
        };
        let pod = &identity.pod;
        let mut known = self.pods.containers_of(&pod.namespace, &pod.name);
        let kind = known.find(|(known, _)| known == subject);
        let event = PodEvent {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.api_uid.clone().unwrap_or_else(|| pod.uid.clone()),
            container: identity.name.clone(),
            kind: kind.map_or(ContainerKind::App, |(_, kind)| kind),
            reason: TURNED_AWAY,
            message: format!(
                "not all cgroups inside {} are recorded: {}",
                identity.name,
                said()
            ),
            about: TURNED_AWAY.to_owned(),
            annotations: Default::default(),
            time: Timestamp::now(),
        };
        let node = self.clients.node.clone();
        self.tasks.spawn(apply(client, node, event));
    }
}

/// Why not all of a container's cgroups are recorded.
fn said() -> String {
    let (nested, inner) = crate::recorder::MOST_INSIDE;
    format!(
        "at most {nested} cgroups inside a container are recorded, and at most {inner} containers inside it, none of \
         them with the id of another container of the node; what happens in the others is in no capture"
    )
}

/// Tries for some minutes to put an Event on a pod.
async fn apply(client: Client, node: String, event: PodEvent) {
    const PAUSES: [Duration; 4] = [
        Duration::from_secs(1),
        Duration::from_secs(10),
        Duration::from_secs(60),
        Duration::from_secs(300),
    ];
    for pause in PAUSES {
        match event.apply(&client, &node).await {
            Ok(()) => return,
            Err(error) if error.retry() == Retry::Never => {
                return tracing::debug!(error = %chain(&error), "an Event has no place any more");
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "an Event is written later");
                tokio::time::sleep(pause).await;
            }
        }
    }
    tracing::warn!(
        namespace = event.namespace,
        pod = event.pod,
        "an Event could not be written: {}",
        event.message
    );
}
