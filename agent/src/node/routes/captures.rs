//! Capture objects that wait for an agent: taken if their pod is here, and filled.

use std::{cmp::Reverse, collections::HashSet, time::Duration};

use capture_format::{ExitStatus, Trigger};
use kubernetes::{
    Retry,
    capture::CaptureSpec,
    captures::{self, Notice, Offer},
    pods::ContainerKind,
};
use spool::Entry;
use triggers::{Observation, Subject};

use super::super::{
    Input,
    event_loop::Node,
    handle::Target,
    routes::opt_out::OFF,
    routes::orders::Asked,
    routes::requests::{ASKED_FOR, NOBODY, Wanted},
    tell,
};
use crate::host;

/// Why a Capture object failed, in one word.
pub(crate) const OPTED_OUT: &str = "OptedOut";
const NOTHING_RECORDED: &str = "NothingRecorded";

/// How likely it is that a container of a pod is meant where none is named; in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    /// It is not one that somebody added for debugging, or it is named.
    is_asked: bool,
    /// When it crashed, nanoseconds of CLOCK_BOOTTIME; none if its newest run did not.
    crashed: Option<u64>,
    lives: bool,
    is_app: bool,
    /// Its place in the specification.
    place: Reverse<Option<usize>>,
}

/// A Capture object was this agent's to take, or was not.
pub(crate) struct ClaimAnswered {
    key: (String, String),
    taken: Option<captures::Claim>,
}

impl Node {
    /// The watch of the cluster's Captures tells of one.
    pub(crate) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Offered(offer) => self.offered(offer),
            Notice::Listed(there) => self.listed(&there),
            Notice::Deleted { namespace, name } => self.deleted(&namespace, &name),
        }
    }

    /// What was announced and is not there was lost with the resource definition, or with the cluster: it is announced anew. What somebody deleted is no more in the
    /// spool, or leaves it just now, and what is too old has expired.
    fn listed(&mut self, there: &HashSet<(String, String)>) {
        let ttl = self.config.kubernetes.ttl.as_nanos();
        let oldest = u128::from(host::realtime()).saturating_sub(ttl);
        let lost = self.spool.find(|entry| {
            let place = (entry.info.namespace.clone(), entry.name().to_owned());
            entry.state.announced
                && entry.state.exists
                && u128::from(entry.info.created) > oldest
                && !there.contains(&place)
                && !self.leaving.contains(&entry.id)
        });
        if lost.is_empty() {
            return;
        }
        tracing::info!(
            captures = lost.len(),
            "captures are announced anew: the API server does not have them"
        );
        let (spool, teller) = (self.spool.clone(), self.teller.clone());
        self.tasks.spawn_blocking(move || {
            for entry in lost {
                let anew = spool.update(&entry.id, |entry| {
                    (entry.state.announced, entry.state.exists) = (false, false);
                });
                if let Err(error) = anew {
                    tracing::debug!(%error, "a capture is to be announced anew");
                }
            }
            teller.wake();
        });
    }

    /// Who deleted a Capture is done with it: its file goes, and when the container crashes again, that is news.
    fn deleted(&mut self, namespace: &str, name: &str) {
        let is_it = |entry: &Entry| entry.info.namespace == namespace && entry.name() == name;
        let (Some(entry), Some(captures)) = (self.spool.find(is_it).pop(), self.captures.clone())
        else {
            return;
        };
        let (id, subject) = (entry.id.clone(), subject_of_entry(&entry));
        let at = self.clock.now();
        let gone = Observation::CaptureDeleted { id: id.clone() };
        let decisions = self.machine.observe(at, &subject, gone);
        self.decide(decisions);
        if !self.leaving.insert(id.clone()) {
            return;
        }
        let (spool, inputs) = (self.spool.clone(), self.inputs.clone());
        self.tasks.spawn(async move {
            if is_deleted(&captures, &entry).await {
                tell::remove(&spool, &entry, "its Capture object was deleted").await;
            }
            let _ = inputs.send(Input::DeletionSettled(id));
        });
    }

    /// A Capture object waits for an agent: for this one, if its pod is here.
    fn offered(&mut self, offer: Offer) {
        if self.announces(&offer) {
            return;
        }
        let pod = (offer.namespace.clone(), offer.spec.pod_name.clone());
        let Some(known) = self.pods.get(&pod) else {
            return;
        };
        if offer
            .spec
            .pod_uid
            .as_ref()
            .is_some_and(|wanted| ![&known.uid, &known.api_uid].contains(&wanted))
            || !self.taking.insert(key(&offer))
        {
            return;
        }
        let Some(captures) = self.captures.clone() else {
            return;
        };
        let inputs = self.inputs.clone();
        self.tasks.spawn(async move {
            let granted = captures.claim(&offer).await;
            if let Err(error) = &granted {
                tracing::warn!(%error, capture = offer.name, "a requested capture cannot be taken");
            }
            let granted = ClaimAnswered {
                key: key(&offer),
                taken: granted.ok().flatten(),
            };
            let _ = inputs.send(Input::ClaimAnswered(Box::new(granted)));
        });
    }

    /// Whether it is about a capture that a trigger has given: it waits for its status, which is announced by itself.
    fn announces(&self, offer: &Offer) -> bool {
        let by_trigger = |entry: &Entry| {
            entry.info.namespace == offer.namespace
                && entry.name() == offer.name
                && entry.info.rank < ASKED_FOR
        };
        !self.spool.find(by_trigger).is_empty()
    }

    /// A Capture object is this agent's to fill, or another's.
    pub(crate) fn granted(&mut self, ClaimAnswered { key, taken }: ClaimAnswered) {
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
                let wanted = Wanted {
                    name: taken.offer.name.clone(),
                    trigger,
                    rank: ASKED_FOR,
                };
                self.look(subject, Asked::Object(Box::new(taken)), wanted);
            }
            Err((reason, message)) => {
                self.taking.remove(&key);
                self.fail(taken, reason, message);
            }
        }
    }

    /// Which container a Capture object means: the one it names, or else the one that crashed last, or else the first.
    ///
    /// # Errors
    /// There is none: the reason, in one word, and a message for people.
    fn subject_of(&self, offer: &Offer) -> Result<Subject, (&'static str, String)> {
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
        let known: Vec<_> = self.containers_of(&offer.namespace, pod_name).collect();
        let worth = |subject: &Subject| {
            let place = known.iter().position(|(known, _)| known == subject);
            let kind = place.map(|place| known[place].1);
            let newest = self.subjects.get(subject).and_then(|runs| runs.kept.back());
            let failed = newest.filter(|kept| kept.run.status != Some(ExitStatus::Code(0)));
            Worth {
                is_asked: container.is_some() || kind != Some(ContainerKind::Ephemeral),
                crashed: failed.and_then(|kept| kept.run.end),
                lives: self
                    .live
                    .values()
                    .any(|live| live.subject == *subject && !live.is_over()),
                is_app: kind == Some(ContainerKind::App),
                place: Reverse(place),
            }
        };
        let best = found.into_iter().max_by_key(worth);
        let off = known.iter().find(|(subject, _)| {
            let meant = container
                .as_ref()
                .is_none_or(|only| *only == subject.container);
            meant && self.is_off(subject)
        });
        best.ok_or_else(|| match (off, container) {
            (Some((subject, _)), _) => (
                OPTED_OUT,
                format!(
                    "container {} of pod {pod_name} is not captured: {OFF}",
                    subject.container
                ),
            ),
            (None, Some(container)) => (
                NOTHING_RECORDED,
                format!("pod {pod_name} has no container {container} that is recorded: {NOBODY}"),
            ),
            (None, None) => (NOTHING_RECORDED, format!("pod {pod_name}: {NOBODY}")),
        })
    }

    pub(crate) fn fail(&mut self, taken: captures::Claim, reason: &'static str, message: String) {
        let Some(captures) = self.captures.clone() else {
            return;
        };
        self.tasks.spawn(async move {
            if let Err(error) = captures.fail(taken, reason, &message).await {
                tracing::warn!(%error, "that a capture failed cannot be said: {message}");
            }
        });
    }
}

/// Whether a Capture that is gone was deleted for its own sake. Where the API server does not say, the file stays.
async fn is_deleted(captures: &captures::Captures, entry: &Entry) -> bool {
    /// Another API server may learn later that the definition is being deleted.
    const SETTLES: Duration = Duration::from_secs(3);
    const PACE: Duration = Duration::from_secs(10);
    const ATTEMPTS: usize = 30;
    tokio::time::sleep(SETTLES).await;
    for _ in 0..ATTEMPTS {
        let asked = captures.is_deleted(&entry.info.namespace, entry.name());
        match asked.await {
            Ok(deleted) => return deleted,
            Err(error) if error.retry() == Retry::Soon => tokio::time::sleep(PACE).await,
            Err(error) => {
                tracing::warn!(capture = entry.id, %error, "a Capture object is gone, and why is not known: its file stays");
                return false;
            }
        }
    }
    false
}

/// Whose capture it is. One that was taken before anybody knew the container's name goes by its id.
pub(crate) fn subject_of_entry(entry: &Entry) -> Subject {
    let info = &entry.info;
    let container = if info.container.is_empty() {
        &info.container_id
    } else {
        &info.container
    };
    Subject {
        pod_uid: info.pod_uid.clone(),
        container: container.clone(),
    }
}

pub(crate) fn key(offer: &Offer) -> (String, String) {
    (offer.namespace.clone(), offer.name.clone())
}
