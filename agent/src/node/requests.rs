//! Captures: decided by the triggers, asked for by a person, or requested by a Capture object.

use std::{sync::Arc, time::Instant};

use capture_format::Trigger;
use containers::directory::Identity;
use kubernetes::{
    capture::CaptureSpec,
    captures::{self, Offer},
};
use tokio::sync::oneshot;
use triggers::{Attempt, Captured, Decision, Observation, Subject, Time};

use super::{
    Input,
    capture::{Order, Taken},
    ending::Ending,
    handle::{Alert, AlertOutcome, CaptureOutcome, Request, Target, Written},
    kept::KeptRun,
    lives::Held,
    state::Node,
};
use crate::host;

/// Rank of a capture that somebody asked for: triggers' own rank below.
const ASKED_FOR: u32 = 100;
/// Agents that don't have a Capture's pod leave it to others.
const NOBODY: &str = "nothing of the container has been recorded yet; it may have started before the agent, or not at all";

/// What became of an order.
pub(super) struct Outcome {
    subject: Subject,
    asked: Asked,
    /// Number of the newest run that had ended, and how many had.
    ended: (u32, usize),
    result: anyhow::Result<Taken>,
}

/// Who wants a capture.
pub(super) enum Asked {
    /// The triggers.
    Trigger(Attempt),
    /// A person at the socket.
    Person(oneshot::Sender<CaptureOutcome>, Box<CaptureOutcome>),
    /// A Capture object.
    Object(Box<captures::Taken>),
}

/// A live container has been looked at for a capture.
pub(super) struct Looked {
    subject: Subject,
    asked: Asked,
    trigger: Trigger,
    name: String,
    /// The run that it is in, if it is in one.
    live: Option<KeptRun>,
}

impl Node {
    /// Does what the triggers decided.
    pub(super) fn decide(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Warn { pod_uid, message } => tracing::warn!(pod_uid, "{message}"),
                Decision::Capture {
                    attempt,
                    subject,
                    trigger,
                    replaces,
                } => {
                    let held = Held {
                        attempt,
                        trigger,
                        replaces,
                    };
                    match self.subjects.get_mut(&subject) {
                        // The run that tripped it is being kept.
                        Some(runs) if runs.ending > 0 => runs.held.push(held),
                        _ => self.take(subject, held),
                    }
                }
            }
        }
    }

    /// Captures the kept runs of a subject.
    pub(super) fn take(&mut self, subject: Subject, held: Held) {
        let kept = self.kept_of(&subject);
        let Some(last) = kept.last() else {
            tracing::warn!(
                pod_uid = subject.pod_uid,
                container = subject.container,
                "a trigger tripped, and no run of the container was recorded: {}",
                held.trigger.detail
            );
            let decisions = self.machine.failed(Time(host::realtime()), held.attempt);
            return self.decide(decisions);
        };
        let identity = self.identity(&subject);
        let name = match &held.replaces {
            Some(replaced) => replaced.rsplit('/').next().unwrap_or(replaced).to_owned(),
            None => capture_name(identity.as_ref(), &subject, &last.run.number.to_string()),
        };
        let order = Order {
            name,
            identity,
            trigger: Trigger {
                kind: held.trigger.kind.name().into(),
                detail: held.trigger.detail,
            },
            rank: held.trigger.kind as u32,
            runs: kept,
            replaces: held.replaces,
            requested: false,
        };
        self.order(subject, Asked::Trigger(held.attempt), order);
    }

    fn kept_of(&self, subject: &Subject) -> Vec<Arc<KeptRun>> {
        let runs = self.subjects.get(subject);
        runs.map(|runs| runs.kept.iter().cloned().collect())
            .unwrap_or_default()
    }

    fn identity(&self, subject: &Subject) -> Option<Identity> {
        self.subjects.get(subject)?.identity.clone()
    }

    fn order(&mut self, subject: Subject, asked: Asked, order: Order) {
        let (knowledge, spool, inputs) = (
            self.knowledge.clone(),
            self.spool.clone(),
            self.inputs.clone(),
        );
        let over = order.runs.iter().filter(|run| run.run.end.is_some());
        let ended = (
            over.clone().next_back().map_or(0, |run| run.run.number),
            over.count(),
        );
        let (began, metrics) = (Instant::now(), self.metrics.clone());
        let kind = order.trigger.kind.clone();
        self.tasks.spawn(async move {
            let result = knowledge.capture(order, spool).await;
            metrics.captured(&kind, began.elapsed(), result.is_ok());
            let _ = inputs.send(Input::Taken(Box::new(Outcome {
                subject,
                asked,
                ended,
                result,
            })));
        });
    }

    /// A capture stands, or does not.
    pub(super) fn taken(
        &mut self,
        Outcome {
            subject,
            asked,
            ended,
            result,
        }: Outcome,
    ) {
        let now = Time(host::realtime());
        let stands = match &result {
            Ok(taken) => {
                let entry = &taken.entry;
                tracing::info!(
                    capture = entry.id,
                    trigger = entry.info.trigger.kind,
                    bytes = entry.info.bytes,
                    "{}",
                    taken.explanation.sentence
                );
                self.metrics
                    .verdict(entry.info.cause.as_deref().unwrap_or("unknown"));
                self.teller.wake();
                self.uploader.notify_one();
                Some(Captured {
                    id: entry.id.clone(),
                    at: now,
                    cause: entry.info.cause.clone().filter(|cause| cause != "unknown"),
                    runs: ended.1,
                    last_run: ended.0,
                })
            }
            Err(error) => {
                tracing::error!(
                    pod_uid = subject.pod_uid,
                    container = subject.container,
                    "no capture could be taken: {error:#}"
                );
                None
            }
        };
        let decisions = match (asked, stands) {
            (Asked::Trigger(attempt), Some(captured)) => {
                self.machine.captured(now, attempt, captured)
            }
            (Asked::Trigger(attempt), None) => self.machine.failed(now, attempt),
            (Asked::Person(reply, mut outcome), stands) => {
                outcome.result = result
                    .map(|taken| written(&taken, &self.spool))
                    .map_err(|error| format!("{error:#}"));
                let _ = reply.send(*outcome);
                self.found(&subject, stands)
            }
            (Asked::Object(taken), stands) => {
                self.taking.remove(&key(&taken.offer));
                if let Err(error) = result {
                    self.fail(*taken, "CaptureFailed", format!("{error:#}"));
                }
                self.found(&subject, stands)
            }
        };
        self.decide(decisions);
    }

    /// A capture that no trigger asked for counts all the same: the same runs are not captured twice.
    fn found(&mut self, subject: &Subject, captured: Option<Captured>) -> Vec<Decision> {
        // One without an ended run says nothing about a crash.
        let Some(captured) = captured.filter(|captured| captured.runs > 0) else {
            return Vec::new();
        };
        self.machine
            .observe(captured.at, subject, Observation::CaptureFound(captured))
    }

    /// Somebody on this machine asks.
    pub(super) fn request(&mut self, request: Request) {
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
            self.look(
                subject,
                Asked::Person(sender, Box::new(outcome)),
                trigger,
                name,
            );
        }
        self.tasks.spawn(async move {
            let mut outcomes = Vec::new();
            for answer in answers {
                outcomes.extend(answer.await.ok());
            }
            let _ = reply.send(outcomes);
        });
    }

    /// The subjects that a target matches.
    fn matching(&self, target: &Target) -> Vec<Subject> {
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
                    self.pods.get(&key) == Some(&subject.pod_uid)
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
    fn look(&mut self, subject: Subject, asked: Asked, trigger: Trigger, name: String) {
        let live = self
            .live
            .iter()
            .find(|(_, live)| live.subject == subject && !live.is_over());
        let ending = live.map(|(cgroup, live)| {
            let (cgroup, id, number) = (*cgroup, live.id.clone(), live.run);
            let identity = self.directory.container(&live.id);
            (cgroup, id, number, identity, self.policy(&subject))
        });
        let (recording, knowledge, inputs) = (
            self.recording.clone(),
            self.knowledge.clone(),
            self.inputs.clone(),
        );
        self.tasks.spawn(async move {
            let mut run = None;
            if let Some((cgroup, id, number, identity, policy)) = ending
                && let Some(life) = recording.snapshot(cgroup).await
            {
                let looked = knowledge
                    .end(Ending {
                        cgroup,
                        id,
                        number,
                        identity,
                        policy,
                        life,
                    })
                    .await;
                run = looked
                    .inspect_err(|error| {
                        tracing::error!("a live container cannot be captured: {error:#}")
                    })
                    .ok()
                    .map(|looked| looked.kept);
            }
            let looked = Looked {
                subject,
                asked,
                trigger,
                name,
                live: run,
            };
            let _ = inputs.send(Input::Looked(Box::new(looked)));
        });
    }

    /// The live run of a subject to be captured is there.
    pub(super) fn looked(
        &mut self,
        Looked {
            subject,
            asked,
            trigger,
            name,
            live,
        }: Looked,
    ) {
        let mut runs = self.kept_of(&subject);
        if let Some(live) = live {
            runs.retain(|run| run.run.number != live.run.number);
            runs.push(Arc::new(live));
        }
        if runs.is_empty() {
            let ended = (0, 0);
            return self.taken(Outcome {
                subject,
                asked,
                ended,
                result: Err(anyhow::anyhow!(NOBODY)),
            });
        }
        let requested = matches!(asked, Asked::Object(_));
        let identity = self.identity(&subject);
        let order = Order {
            name,
            identity,
            trigger,
            rank: ASKED_FOR,
            runs,
            replaces: None,
            requested,
        };
        self.order(subject, asked, order);
    }

    /// A Capture object waits for an agent: for this one, if its pod is here.
    pub(super) fn offered(&mut self, offer: Offer) {
        let pod = (offer.namespace.clone(), offer.spec.pod_name.clone());
        let Some(uid) = self.pods.get(&pod) else {
            return;
        };
        if offer
            .spec
            .pod_uid
            .as_ref()
            .is_some_and(|wanted| wanted != uid)
            || !self.taking.insert(key(&offer))
        {
            return;
        }
        let Some(captures) = self.captures.clone() else {
            return;
        };
        let inputs = self.inputs.clone();
        self.tasks.spawn(async move {
            let granted = captures.take(&offer).await;
            if let Err(error) = &granted {
                tracing::warn!(%error, capture = offer.name, "a requested capture cannot be taken");
            }
            let granted = Granted {
                key: key(&offer),
                taken: granted.ok().flatten(),
            };
            let _ = inputs.send(Input::Granted(Box::new(granted)));
        });
    }

    /// A Capture object is this agent's to fill, or another's.
    pub(super) fn granted(&mut self, Granted { key, taken }: Granted) {
        let Some(taken) = taken else {
            self.taking.remove(&key);
            return;
        };
        match self.subject_of(&taken.offer) {
            Ok(subject) => {
                let trigger = Trigger {
                    kind: taken.offer.spec.trigger.kind.clone(),
                    detail: taken.offer.spec.trigger.detail.clone().unwrap_or_default(),
                };
                let name = taken.offer.name.clone();
                self.look(subject, Asked::Object(Box::new(taken)), trigger, name);
            }
            Err(message) => {
                self.taking.remove(&key);
                self.fail(taken, "NothingRecorded", message);
            }
        }
    }

    /// Which container a Capture object means: the one it names, or else the one that crashed last, or else the first.
    fn subject_of(&self, offer: &Offer) -> Result<Subject, String> {
        let CaptureSpec {
            pod_name,
            container,
            ..
        } = &offer.spec;
        let target = Target::Pod {
            namespace: offer.namespace.clone(),
            name: pod_name.clone(),
            container: container.clone(),
        };
        let mut found = self.matching(&target);
        if let Some(id) = &offer.spec.container_id {
            found.retain(|subject| {
                let identity = self
                    .subjects
                    .get(subject)
                    .and_then(|runs| runs.identity.as_ref());
                identity.is_some_and(|identity| identity.id == *id)
            });
        }
        let crashed = |subject: &Subject| {
            let runs = self.subjects.get(subject)?;
            runs.kept.back()?.run.end
        };
        found
            .into_iter()
            .max_by_key(|subject| crashed(subject))
            .ok_or_else(|| match container {
                Some(container) => format!(
                    "pod {pod_name} has no container {container} that is recorded: {NOBODY}"
                ),
                None => format!("pod {pod_name}: {NOBODY}"),
            })
    }

    fn fail(&mut self, taken: captures::Taken, reason: &'static str, message: String) {
        let Some(captures) = self.captures.clone() else {
            return;
        };
        self.tasks.spawn(async move {
            if let Err(error) = captures.fail(taken, reason, &message).await {
                tracing::warn!(%error, "that a capture failed cannot be said: {message}");
            }
        });
    }

    /// An alert about a pod anywhere: its Capture object finds the right node.
    fn alert(&mut self, alert: Alert, reply: oneshot::Sender<Result<AlertOutcome, String>>) {
        let Some(client) = self.knowledge.kube.clone() else {
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

/// A Capture object was this agent's to take, or was not.
pub(super) struct Granted {
    key: (String, String),
    taken: Option<captures::Taken>,
}

fn key(offer: &Offer) -> (String, String) {
    (offer.namespace.clone(), offer.name.clone())
}

fn written(taken: &Taken, spool: &spool::Spool) -> Written {
    let entry = &taken.entry;
    Written {
        name: entry.id.clone(),
        file: spool.path(&entry.id).unwrap_or_default(),
        size: entry.info.bytes,
        runs: entry.info.runs.len() as u32,
        sentence: taken.explanation.sentence.clone(),
    }
}

/// The name of a capture: the same for the same run of the same container, so that an agent that starts anew does not make a second one.
fn capture_name(identity: Option<&Identity>, subject: &Subject, of: &str) -> String {
    let seed = [subject.pod_uid.as_str(), of];
    match identity {
        Some(identity) => kubernetes::capture_name(&identity.pod.name, Some(&identity.name), &seed),
        None => kubernetes::capture_name(&subject.container, None, &seed),
    }
}
