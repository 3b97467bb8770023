//! Captures that somebody on this machine asks for, and alerts about pods anywhere.

use std::sync::Arc;

use capture_format::Trigger;
use kubernetes::{capture::CaptureSpec, captures, pods::ContainerKind};
use tokio::sync::oneshot;
use triggers::Subject;

use super::super::{
    Input,
    capture::Order,
    event_loop::Node,
    handle::{Alert, AlertOutcome, CaptureOutcome, Request, Target},
    kept::KeptRun,
    routes::opt_out::OFF,
    routes::orders::{Asked, OrderDone, capture_name},
};
use crate::host;

/// Rank of a capture that somebody asked for: triggers' own rank below.
pub(crate) const ASKED_FOR: u32 = 100;
/// Why there is nothing to capture.
pub(crate) const NOBODY: &str = "nothing of the container has been recorded yet; it may have started before the agent, or not at all";

/// What capture is wanted of a live container.
pub(crate) struct Wanted {
    /// Name of the capture.
    pub(crate) name: String,
    pub(crate) trigger: Trigger,
    pub(crate) rank: u32,
}

/// A live container has been looked at for a capture.
pub(crate) struct LiveRunRead {
    subject: Subject,
    asked: Asked,
    wanted: Wanted,
    /// The run that it is in, if it is in one.
    live: Option<KeptRun>,
}

impl Node {
    /// Somebody on this machine asks.
    pub(crate) fn request(&mut self, request: Request) {
        match request {
            Request::Status(reply) => self.status(reply),
            Request::Capture {
                target,
                reason,
                reply,
            } => self.capture_for_person(&target, &reason, reply),
            Request::Alert { alert, reply } => self.alert(alert, reply),
        }
    }

    fn capture_for_person(
        &mut self,
        target: &Target,
        reason: &str,
        reply: oneshot::Sender<Vec<CaptureOutcome>>,
    ) {
        let detail = if reason.is_empty() {
            "somebody asked for it on the node".to_owned()
        } else {
            reason.to_owned()
        };
        let mut answers = Vec::new();
        for outcome in self.opted_out(target) {
            let (sender, answer) = oneshot::channel();
            answers.push(answer);
            let _ = sender.send(outcome);
        }
        for subject in self.matching(target) {
            let identity = self.identity(&subject);
            let mut outcome = CaptureOutcome {
                namespace: String::new(),
                pod: String::new(),
                container: subject.container.clone(),
                container_id: self
                    .live
                    .values()
                    .find(|live| live.subject == subject)
                    .map(|live| live.id.clone())
                    .unwrap_or_default(),
                result: Err(String::new()),
            };
            if let Some(identity) = &identity {
                outcome.namespace.clone_from(&identity.pod.namespace);
                outcome.pod.clone_from(&identity.pod.name);
            }
            let (sender, answer) = oneshot::channel();
            answers.push(answer);
            let name = capture_name(identity.as_ref(), &subject, &host::realtime().to_string());
            let trigger = Trigger {
                kind: "manual".into(),
                detail: detail.clone(),
            };
            let wanted = Wanted {
                name,
                trigger,
                rank: ASKED_FOR,
            };
            self.look(subject, Asked::Person(sender, Box::new(outcome)), wanted);
        }
        self.tasks.spawn(async move {
            let mut outcomes = Vec::new();
            for answer in answers {
                outcomes.extend(answer.await.ok());
            }
            let _ = reply.send(outcomes);
        });
    }

    /// What a target matches and is not recorded, and why.
    fn opted_out(&self, target: &Target) -> Vec<CaptureOutcome> {
        let outcome = |subject: &Subject, namespace: &str, pod: &str| CaptureOutcome {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: subject.container.clone(),
            container_id: self.off.get(subject).cloned().unwrap_or_default(),
            result: Err(OFF.to_owned()),
        };
        match target {
            Target::Everything => Vec::new(),
            Target::ContainerId(id) => {
                let is_it = |(_, known): &(&Subject, &String)| known.starts_with(id.as_str());
                let found = self.off.iter().filter(is_it);
                found.map(|(subject, _)| outcome(subject, "", "")).collect()
            }
            Target::Pod {
                namespace,
                name,
                container,
            } => self
                .containers_of(namespace, name)
                .filter(|(subject, _)| {
                    let meant = container
                        .as_ref()
                        .is_none_or(|only| *only == subject.container);
                    meant && self.is_off(subject)
                })
                .map(|(subject, _)| outcome(&subject, namespace, name))
                .collect(),
        }
    }

    /// The containers of a pod, as far as the API server has told them.
    pub(crate) fn containers_of(
        &self,
        namespace: &str,
        pod: &str,
    ) -> impl Iterator<Item = (Subject, ContainerKind)> {
        let known = self.pods.get(&(namespace.to_owned(), pod.to_owned()));
        known.into_iter().flat_map(|known| {
            let subject = |name: &String| Subject {
                pod_uid: known.uid.clone(),
                container: name.clone(),
            };
            let containers = known.containers.iter();
            containers.map(move |(name, kind)| (subject(name), *kind))
        })
    }

    /// The subjects that a target matches.
    pub(crate) fn matching(&self, target: &Target) -> Vec<Subject> {
        let mut found: Vec<Subject> = match target {
            Target::Everything => self
                .live
                .values()
                .map(|live| live.subject.clone())
                .collect(),
            Target::ContainerId(id) => self
                .live
                .values()
                .filter(|live| live.id.starts_with(id.as_str()))
                .map(|live| live.subject.clone())
                .collect(),
            Target::Pod {
                namespace,
                name,
                container,
            } => {
                let key = (namespace.clone(), name.clone());
                let of_pod = |subject: &&Subject| {
                    let identity = self
                        .subjects
                        .get(*subject)
                        .and_then(|runs| runs.identity.as_ref());
                    let known = self.pods.get(&key);
                    known.is_some_and(|pod| pod.uid == subject.pod_uid)
                        || identity.is_some_and(|identity| {
                            (&identity.pod.namespace, &identity.pod.name) == (namespace, name)
                        })
                };
                self.subjects
                    .keys()
                    .filter(of_pod)
                    .filter(|subject| {
                        container
                            .as_ref()
                            .is_none_or(|only| *only == subject.container)
                    })
                    .cloned()
                    .collect()
            }
        };
        found.sort();
        found.dedup();
        found
    }

    /// Captures a subject with the run that it is in.
    pub(crate) fn look(&mut self, subject: Subject, asked: Asked, wanted: Wanted) {
        let live = self
            .live
            .iter()
            .find(|(_, live)| live.subject == subject && !live.is_over());
        let ending = live.map(|(cgroup, live)| self.ending(*cgroup, live));
        let (recording, clients, inputs) = (
            self.recording.clone(),
            self.clients.clone(),
            self.inputs.clone(),
        );
        self.tasks.spawn(async move {
            let mut run = None;
            if let Some(ending) = ending
                && let Some(life) = recording.snapshot(ending.cgroup).await
            {
                let looked = clients.end(ending, life).await;
                run = looked
                    .inspect_err(|error| {
                        tracing::error!("a live container cannot be captured: {error:#}")
                    })
                    .ok()
                    .map(|looked| looked.kept);
            }
            let looked = LiveRunRead {
                subject,
                asked,
                wanted,
                live: run,
            };
            let _ = inputs.send(Input::LiveRunRead(Box::new(looked)));
        });
    }

    /// The live run of a subject to be captured is there.
    pub(crate) fn looked(
        &mut self,
        LiveRunRead {
            subject,
            asked,
            wanted,
            live,
        }: LiveRunRead,
    ) {
        let mut runs = self.kept_of(&subject);
        if let Some(live) = live {
            runs.retain(|run| run.run.number != live.run.number);
            runs.push(Arc::new(live));
        }
        if runs.is_empty() {
            let why = if self.is_off(&subject) { OFF } else { NOBODY };
            return self.taken(OrderDone::nothing(subject, asked, why));
        }
        let requested = matches!(asked, Asked::Object(_));
        let identity = self.identity(&subject);
        let Wanted {
            name,
            trigger,
            rank,
        } = wanted;
        let order = Order {
            name,
            identity,
            around: None,
            trigger,
            rank,
            runs,
            replaces: None,
            requested,
        };
        self.order(subject, asked, order);
    }

    /// An alert about a pod anywhere: its Capture object finds the right node.
    fn alert(&mut self, alert: Alert, reply: oneshot::Sender<Result<AlertOutcome, String>>) {
        let Some(client) = self.clients.kube.clone() else {
            let _ = reply.send(Err(
                "there is no API server here to create the Capture at".into()
            ));
            return;
        };
        self.tasks.spawn(async move {
            let _ = reply.send(
                create(&client, alert)
                    .await
                    .map_err(|error| error.to_string()),
            );
        });
    }
}

async fn create(
    client: &kubernetes::Client,
    alert: Alert,
) -> Result<AlertOutcome, kubernetes::Error> {
    let seed = alert
        .key
        .clone()
        .unwrap_or_else(|| host::realtime().to_string());
    let name = kubernetes::capture_name(&alert.pod, alert.container.as_deref(), &["alert", &seed]);
    let spec = CaptureSpec {
        pod_name: alert.pod,
        container: alert.container,
        trigger: kubernetes::capture::Trigger {
            kind: "alert".into(),
            detail: Some(alert.detail),
        },
        ..CaptureSpec::default()
    };
    let created = captures::create(
        client,
        kubernetes::Who::Agent,
        &alert.namespace,
        &name,
        spec,
    )
    .await?;
    Ok(if created {
        AlertOutcome::Created(name)
    } else {
        AlertOutcome::Existed(name)
    })
}
