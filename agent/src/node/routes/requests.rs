//! People: captures that somebody on this machine asks for, `lastword status`, and alerts about pods anywhere.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use capture_format::{CgroupId, Trigger};
use containers::directory::Pod;
use kubernetes::{capture::CaptureSpec, captures};
use tokio::sync::oneshot;
use triggers::Subject;

use super::super::{
    event_loop::Node,
    handle::{
        Alert, AlertOutcome, CaptureOutcome, Containers, Crowded, Memory, Request, Status, Target,
    },
    order::{Asked, OFF, REQUESTED, Wanted, capture_name},
    recording::Rings,
};
use crate::host;

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
        let mut outcomes = self.opted_out(target);
        let mut answers = Vec::new();
        for subject in self.matching(target) {
            let identity = self.identity(&subject);
            let live = self.lives.all().find(|live| live.subject == subject);
            let mut outcome = CaptureOutcome {
                namespace: String::new(),
                pod: String::new(),
                container: subject.container.clone(),
                container_id: live.map(|live| live.id.clone()).unwrap_or_default(),
                result: Err(String::new()),
            };
            if let Some(identity) = &identity {
                outcome.namespace.clone_from(&identity.pod.namespace);
                outcome.pod.clone_from(&identity.pod.name);
            }
            let (sender, answer) = oneshot::channel();
            answers.push(answer);
            let name = capture_name(identity.as_ref(), &subject, &host::realtime().0.to_string());
            let trigger = Trigger {
                kind: "manual".into(),
                detail: detail.clone(),
            };
            let wanted = Wanted {
                name,
                trigger,
                rank: REQUESTED,
            };
            let asked = Asked::Person(sender, Box::new(outcome));
            self.read_live_run(subject, asked, wanted);
        }
        self.tasks.spawn(async move {
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
            container_id: self.lives.off_id(subject).cloned().unwrap_or_default(),
            result: Err(OFF.to_owned()),
        };
        match target {
            Target::Everything => Vec::new(),
            Target::ContainerId(id) => {
                let is_it = |(_, known): &(&Subject, &String)| known.starts_with(id.as_str());
                let found = self.lives.off().filter(is_it);
                found.map(|(subject, _)| outcome(subject, "", "")).collect()
            }
            Target::Pod {
                namespace,
                name,
                container,
            } => self
                .pods
                .containers_of(namespace, name)
                .filter(|(subject, _)| {
                    let meant = container
                        .as_ref()
                        .is_none_or(|only| *only == subject.container);
                    meant && self.orders.is_off(subject)
                })
                .map(|(subject, _)| outcome(&subject, namespace, name))
                .collect(),
        }
    }

    /// The subjects that a target matches.
    pub(crate) fn matching(&self, target: &Target) -> Vec<Subject> {
        let mut found: Vec<Subject> = match target {
            Target::Everything => self.lives.all().map(|live| live.subject.clone()).collect(),
            Target::ContainerId(id) => self
                .lives
                .all()
                .filter(|live| live.id.starts_with(id.as_str()))
                .map(|live| live.subject.clone())
                .collect(),
            Target::Pod {
                namespace,
                name,
                container,
            } => {
                let uid = self.pods.uid(namespace, name);
                let of_pod = |subject: &&Subject| {
                    let identity = self.histories.identity(subject);
                    uid == Some(&subject.pod_uid)
                        || identity.is_some_and(|identity| {
                            (&identity.pod.namespace, &identity.pod.name) == (namespace, name)
                        })
                };
                let is_meant = |subject: &&Subject| {
                    let only = container.as_ref();
                    only.is_none_or(|only| *only == subject.container)
                };
                let all = self.histories.subjects();
                all.filter(of_pod).filter(is_meant).cloned().collect()
            }
        };
        found.sort();
        found.dedup();
        found
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
            let created = create(&client, alert).await;
            let _ = reply.send(created.map_err(|error| error.to_string()));
        });
    }

    /// The names of what is recorded.
    fn names(&self) -> impl Iterator<Item = (CgroupId, Crowded)> {
        self.lives.with_cgroups().map(|(cgroup, live)| {
            let pod = self.histories.identity(&live.subject);
            let pod = pod.map(|identity| &identity.pod);
            let name = |of: fn(&Pod) -> &String| pod.map(|pod| of(pod).clone()).unwrap_or_default();
            let crowded = Crowded {
                namespace: name(|pod| &pod.namespace),
                pod: name(|pod| &pod.name),
                container: live.subject.container.clone(),
                turned_away: 0,
            };
            (cgroup, crowded)
        })
    }

    /// Answers when the recorder has said what it has.
    fn status(&mut self, reply: oneshot::Sender<Status>) {
        let (recorded, named) = self.lives.count();
        let (spool, storage) = self.outside.status(&self.config);
        let mut status = Status {
            node: self.clients.node.clone(),
            probes: self.recording.setup.probes.clone(),
            limitations: self.recording.setup.limitations.clone(),
            containers: Containers {
                named: named as u64,
                unnamed: (recorded - named) as u64,
                waiting: 0,
            },
            memory: Memory {
                kept_runs: self.histories.count() as u64,
                kept_run_bytes: self.histories.bytes(),
                budget_bytes: self.config.recorder.memory.as_u64(),
                ..Memory::default()
            },
            spool,
            storage,
            announce_pending: self.outside.announce_pending(),
            ..Status::default()
        };
        self.account.fill(&mut status);
        let names: HashMap<CgroupId, Crowded> = self.names().collect();
        let recording = self.recording.clone();
        self.tasks.spawn(async move {
            if let Some(Rings {
                stock,
                waiting,
                misses,
                turned_away,
                crowded,
            }) = recording.stock().await
            {
                status.turned_away = turned_away;
                status.crowded = most_crowded(crowded, names);
                status.containers.waiting = waiting as u64;
                status.memory.rings_used = stock.used as u64;
                status.memory.rings_free = stock.free as u64;
                status.memory.ring_bytes = stock.ring_bytes;
                status.skipped = misses.into_map();
                status.losses.recursion_misses = status.skipped.values().sum();
            }
            let _ = reply.send(status);
        });
    }
}

/// The containers in which most cgroups are not recorded, by name.
fn most_crowded(
    mut crowded: Vec<(CgroupId, u64)>,
    mut names: HashMap<CgroupId, Crowded>,
) -> Vec<Crowded> {
    const SHOWN: usize = 10;
    crowded.sort_by_key(|(_, count)| Reverse(*count));
    let named = crowded.into_iter().filter_map(|(cgroup, turned_away)| {
        Some(Crowded {
            turned_away,
            ..names.remove(&cgroup)?
        })
    });
    named.take(SHOWN).collect()
}

/// How long a plain request that says the same counts as the same.
const SAME_REQUEST: Duration = Duration::from_secs(5 * 60);

async fn create(
    client: &kubernetes::Client,
    alert: Alert,
) -> Result<AlertOutcome, kubernetes::Error> {
    // What has no key of its own counts as sent again if it says the same within the same five minutes.
    let seed = alert.key.clone().unwrap_or_else(|| {
        let span = host::realtime().0 / SAME_REQUEST.as_nanos() as u64;
        format!("{span} {}", alert.detail)
    });
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
