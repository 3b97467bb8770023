//! Capture objects that wait for an agent: taken if their pod is here, and filled.

use capture_format::Trigger;
use kubernetes::{
    capture::CaptureSpec,
    captures::{self, Offer},
};
use triggers::Subject;

use super::{Input, handle::Target, orders::Asked, requests::NOBODY, state::Node};

/// A Capture object was this agent's to take, or was not.
pub(super) struct Granted {
    key: (String, String),
    taken: Option<captures::Taken>,
}

impl Node {
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

pub(super) fn key(offer: &Offer) -> (String, String) {
    (offer.namespace.clone(), offer.name.clone())
}
