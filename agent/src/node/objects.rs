//! Capture objects that wait for an agent: taken if their pod is here, and filled.

use capture_format::Trigger;
use kubernetes::{
    capture::CaptureSpec,
    captures::{self, Notice, Offer},
};
use spool::Entry;
use triggers::{Observation, Subject, Time};

use super::{
    Input,
    handle::Target,
    orders::Asked,
    requests::{ASKED_FOR, NOBODY, Wanted},
    state::Node,
};
use crate::host;

/// A Capture object was this agent's to take, or was not.
pub(super) struct Granted {
    key: (String, String),
    taken: Option<captures::Taken>,
}

impl Node {
    /// The watch of the cluster's Captures tells of one.
    pub(super) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Offered(offer) => self.offered(offer),
            Notice::Deleted { namespace, name } => self.deleted(&namespace, &name),
        }
    }

    /// Who deleted a Capture is done with it: when the container crashes again, that is news.
    fn deleted(&mut self, namespace: &str, name: &str) {
        let mut entries = self.spool.entries().into_iter();
        let Some(entry) =
            entries.find(|entry| entry.info.namespace == namespace && entry.name() == name)
        else {
            return;
        };
        let (id, subject) = (entry.id.clone(), subject_of_entry(&entry));
        let at = Time(host::realtime());
        let decisions = self
            .machine
            .observe(at, &subject, Observation::CaptureDeleted { id });
        self.decide(decisions);
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
            .is_some_and(|wanted| *wanted != known.uid)
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

    /// Whether it is about a capture that a trigger has given: it waits for its status, which is announced by itself.
    fn announces(&self, offer: &Offer) -> bool {
        let by_trigger = |entry: &Entry| {
            entry.info.namespace == offer.namespace
                && entry.name() == offer.name
                && entry.info.rank < ASKED_FOR
        };
        self.spool.entries().iter().any(by_trigger)
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
                let wanted = Wanted {
                    name: taken.offer.name.clone(),
                    trigger,
                    rank: ASKED_FOR,
                };
                self.look(subject, Asked::Object(Box::new(taken)), wanted);
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

    pub(super) fn fail(&mut self, taken: captures::Taken, reason: &'static str, message: String) {
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

/// Whose capture it is. One that was taken before anybody knew the container's name goes by its id.
pub(super) fn subject_of_entry(entry: &Entry) -> Subject {
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

pub(super) fn key(offer: &Offer) -> (String, String) {
    (offer.namespace.clone(), offer.name.clone())
}
