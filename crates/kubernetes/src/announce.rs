//! Announcing a capture: its verdict becomes an Event on the pod and a `Capture` object.
//!
//! Both are applied (server-side apply) under names that are the same each time they are computed. So announcing
//! again, even after a restart of the agent, changes nothing, and a better verdict on the same capture replaces the
//! former one.

use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    Access, Error, Health, Retry,
    capture::{Capture, CaptureSpec, CaptureStatus, NODE_LABEL, SimilarPod},
    error::{PATCH_CAPTURE_STATUS, PATCH_CAPTURES, call},
    faults::{Fault, Faults, Standing},
    name::node_label,
    pod_event::{MANAGER, PodEvent},
    pods::ContainerKind,
};

/// Field manager of the status. Before Kubernetes 1.22, ownership did not distinguish subresources, and a single
/// manager would give up the spec by applying the status.
const STATUS_MANAGER: &str = "lastword-status";
/// `reason` of the agent's own Events.
pub const REASON: &str = "LastWords";
/// Annotation of an Event: the fingerprint of its verdict.
pub const FINGERPRINT: &str = "lastword.dev/fingerprint";
const WHO: &str = "announce";

/// What to announce.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// The pod's namespace.
    pub namespace: String,
    /// Its `Capture`.
    pub object: Object,
    /// The spec of a `Capture` that is made.
    pub spec: CaptureSpec,
    /// Its whole status. If that has a verdict, pod UID and container, the pod gets an Event.
    pub status: CaptureStatus,
    /// The role of the container.
    pub kind: ContainerKind,
    /// The Event's time: when the run that the verdict is about ended, or when it was looked at while alive. The time
    /// must be the same in every attempt.
    pub ended: Timestamp,
}

/// The `Capture` of an announcement.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// The one of this name, which was requested or announced before. If it is gone, somebody deleted it.
    Existing(String),
    /// The one of this name, such as [`crate::capture_name`]; it is made if it does not exist.
    Named(String),
    /// One of those that stand for the fault, if any is free.
    OfFault(Fault),
    /// None: the file was added to the similar ones of a fault, or is going to be.
    OfOthers,
}

/// Makes announcements as the agent of one node.
#[derive(Clone)]
pub struct Announcer {
    client: Client,
    faults: Faults,
    node: String,
    health: Health,
}

impl Announcer {
    /// An announcer for the agent of `node`.
    #[must_use]
    pub fn new(client: Client, node: &str, health: Health) -> Self {
        Self {
            faults: Faults::new(client.clone(), node),
            client,
            node: node.to_owned(),
            health,
        }
    }

    /// Puts the Event on the pod (which may already be gone) and writes the `Capture`. It may be repeated without harm.
    /// Returns whether the file has a `Capture` of its own.
    ///
    /// # Errors
    /// If [`Error::retry`] allows it, all of it may be tried again. [`Error::NamespaceGone`] and [`Error::NotFound`]
    /// (the `Capture` was deleted) mean that the announcement has become pointless. If both writes fail, the error that
    /// can be retried sooner is returned.
    pub async fn announce(&self, announcement: &Announcement) -> Result<Standing, Error> {
        let (event, capture) = futures::join!(self.publish(announcement), self.write(announcement));
        let outcome = match (event, capture) {
            (Err(event), Err(capture)) if capture.retry() < event.retry() => Err(capture),
            (Err(event), _) => Err(event),
            (Ok(()), capture) => capture,
        };
        match &outcome {
            Err(error) if !matches!(error.retry(), Retry::Seldom | Retry::Never) => {
                self.health.ill(WHO, error)
            }
            _ => self.health.well(WHO),
        }
        outcome
    }

    async fn publish(&self, announcement: &Announcement) -> Result<(), Error> {
        let Some(event) = event(announcement) else {
            return Ok(());
        };
        let asked = Timestamp::now();
        event.apply(&self.client, &self.node).await?;
        let after = |time: Timestamp| time.as_millisecond() - announcement.ended.as_millisecond();
        tracing::info!(
            namespace = announcement.namespace,
            pod = announcement.spec.pod_name,
            captured_after_ms = announcement
                .status
                .taken_at
                .as_ref()
                .map(|time| after(time.0)),
            asked_after_ms = after(asked),
            since_end_ms = after(Timestamp::now()),
            "the pod has its Event"
        );
        Ok(())
    }

    async fn write(&self, announcement: &Announcement) -> Result<Standing, Error> {
        let Announcement {
            namespace,
            object,
            spec,
            status,
            ..
        } = announcement;
        let name = match object {
            Object::Existing(name) => name.clone(),
            Object::Named(name) => {
                let api: Api<Capture> = Api::namespaced(self.client.clone(), namespace);
                let mut patch = applied(name, None, "spec", &spec.clone().bounded());
                patch["metadata"]["labels"] = json!({ NODE_LABEL: node_label(&self.node) });
                let patch = Patch::Apply(patch);
                let params = PatchParams::apply(MANAGER).force();
                call(PATCH_CAPTURES, api.patch(name, &params, &patch)).await?;
                name.clone()
            }
            Object::OfFault(fault) => {
                let file = status.file.as_deref().unwrap_or_default();
                match self.faults.stand(namespace, fault, file, spec).await? {
                    Standing::Own(name) => name,
                    similar => return Ok(similar),
                }
            }
            Object::OfOthers => return Ok(Standing::Similar { own: Vec::new() }),
        };
        apply_status(&self.client, namespace, &name, None, status).await?;
        Ok(Standing::Own(name))
    }

    /// Adds files to the similar ones of a fault: see [`Faults::add`].
    ///
    /// # Errors
    /// As there.
    pub async fn add(
        &self,
        namespace: &str,
        fault: &Fault,
        addition: &str,
        files: &[SimilarPod],
    ) -> Result<Option<String>, Error> {
        self.faults.add(namespace, fault, addition, files).await
    }
}

/// Writes the status of a `Capture`. With `resource_version` it is written only if nobody has changed it since
/// ([`Error::Conflict`]).
pub(crate) async fn apply_status(
    client: &Client,
    namespace: &str,
    name: &str,
    resource_version: Option<&str>,
    status: &CaptureStatus,
) -> Result<(), Error> {
    const ACCESS: Access = PATCH_CAPTURE_STATUS;
    let api: Api<Capture> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply(STATUS_MANAGER).force();
    let patch = Patch::Apply(applied(name, resource_version, "status", status));
    call(ACCESS, api.patch_status(name, &params, &patch)).await?;
    Ok(())
}

/// A `Capture` with one of its parts, to be applied.
fn applied(
    name: &str,
    resource_version: Option<&str>,
    part: &str,
    value: &impl Serialize,
) -> serde_json::Value {
    let mut metadata = json!({ "name": name });
    if let Some(version) = resource_version {
        metadata["resourceVersion"] = version.into();
    }
    json!({
        "apiVersion": "lastword.dev/v1alpha1",
        "kind": "Capture",
        "metadata": metadata,
        part: value,
    })
}

/// The Event with the verdict.
fn event(announcement: &Announcement) -> Option<PodEvent> {
    let Announcement {
        namespace,
        object: _,
        spec,
        status,
        kind,
        ended,
    } = announcement;
    let verdict = status
        .verdict
        .as_ref()
        .filter(|verdict| !verdict.is_empty())?;
    let fingerprint = status.fingerprint.iter();
    Some(PodEvent {
        namespace: namespace.clone(),
        pod: spec.pod_name.clone(),
        uid: status.pod_uid.clone()?,
        container: status.container.clone()?,
        kind: *kind,
        reason: REASON,
        message: verdict.clone(),
        // One Event for each cause, however many captures show the cause.
        about: status.cause.clone().unwrap_or_default(),
        annotations: fingerprint
            .map(|fingerprint| (FINGERPRINT.to_owned(), fingerprint.clone()))
            .collect(),
        time: *ended,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_the_fault() {
        let announcement = Announcement {
            namespace: "shop".to_owned(),
            object: Object::Named("web-1".to_owned()),
            spec: CaptureSpec::default(),
            status: CaptureStatus {
                pod_uid: Some("u1".to_owned()),
                container: Some("main".to_owned()),
                verdict: Some("main exited 1".to_owned()),
                fingerprint: Some("0123456789abcdef".to_owned()),
                ..CaptureStatus::default()
            },
            kind: ContainerKind::App,
            ended: Timestamp::UNIX_EPOCH,
        };
        let event = event(&announcement).unwrap();
        let annotations = event.object("n1").metadata.annotations.unwrap();
        assert_eq!(annotations[FINGERPRINT], "0123456789abcdef");
    }
}
