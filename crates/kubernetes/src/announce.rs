//! Announcing a capture: its verdict becomes an Event on the pod and a `Capture` object.
//!
//! Both are applied (server-side apply) under names that are the same each time they are computed. So announcing
//! again, even after a restart of the agent, changes nothing, and a better verdict on the same capture replaces the
//! former one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
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
    name::{named, node_label},
    owner::Owner,
    pod_event::{self, MANAGER, NOTE_LIMIT, PodEvent},
    pods::ContainerKind,
    text::cut,
};

/// Field manager of the status. Before Kubernetes 1.22, ownership did not distinguish subresources, and a single
/// manager would give up the spec by applying the status.
const STATUS_MANAGER: &str = "lastword-status";
/// `reason` of the agent's own Events.
pub const REASON: &str = "LastWords";
/// `reason` of the Event that says that a loop is over.
pub const RECOVERED: &str = "Recovered";
/// Annotation of an Event: the fingerprint of its verdict.
pub const FINGERPRINT: &str = "lastword.dev/fingerprint";
/// Annotation of an Event: name of the file on the node, without its suffix, if several pods may share a Capture.
pub(crate) const FILE: &str = "lastword.dev/file";
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
    /// How the crash loop went on, if it did.
    pub recurred: Option<Recurred>,
    /// What it was. The owner gets an Event, too, if the `Capture` is the first of those that stand for the fault.
    pub fault: Option<Fault>,
}

/// A crash loop that went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recurred {
    /// Crashes so far.
    pub crashes: u32,
    /// When the newest was.
    pub last: Timestamp,
    /// When it was found that the loop was over.
    pub over: Option<Timestamp>,
}

/// The `Capture` of an announcement.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// The one of this name, which was requested or announced before. If it is gone, somebody deleted it.
    Existing(String),
    /// The one of this name, such as [`crate::capture_name`]; it is made if it does not exist.
    Named(String),
    /// One of those that stand for this fault, if any is free.
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
        let Some(event) = event(announcement, &self.node) else {
            return Ok(());
        };
        let asked = Timestamp::now();
        let recovered = recovered(announcement, &event);
        pod_event::apply(&self.client, &event).await?;
        if let Some(recovered) = recovered {
            return pod_event::apply(&self.client, &recovered).await;
        }
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

    /// Puts the Event on the owner, with the number of pods that had the fault, if this `Capture` is the first that
    /// stands for it. So one agent alone writes this Event.
    async fn publish_for_owner(
        &self,
        announcement: &Announcement,
        capture: &str,
    ) -> Result<(), Error> {
        let namespace = &announcement.namespace;
        let is_first = |fault: &&Fault| fault.slots().next().as_deref() == Some(capture);
        let fault = announcement.fault.as_ref().filter(is_first);
        let Some(fault) = fault.filter(|fault| fault.owner.kind != "Pod") else {
            return Ok(());
        };
        let count = self.faults.count(namespace, fault).await?;
        match event(announcement, &self.node) {
            Some(event) => {
                let event = event_of_owner(event, fault, &self.node, count);
                pod_event::apply(&self.client, &event).await
            }
            None => Ok(()),
        }
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
        self.publish_for_owner(announcement, &name).await?;
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
fn event(announcement: &Announcement, node: &str) -> Option<Event> {
    let Announcement {
        namespace,
        object: _,
        spec,
        status,
        kind,
        ended,
        recurred,
        fault: _,
    } = announcement;
    let verdict = status
        .verdict
        .as_ref()
        .filter(|verdict| !verdict.is_empty())?;
    let event = PodEvent {
        namespace: namespace.clone(),
        pod: spec.pod_name.clone(),
        uid: status.pod_uid.clone()?,
        container: status.container.clone()?,
        kind: *kind,
        reason: REASON,
        message: verdict.clone(),
        // One Event for each cause, however many captures show the cause.
        about: status.cause.clone().unwrap_or_default(),
        annotations: annotations(status),
        time: *ended,
    };
    let mut event = event.object(node);
    if let Some(recurred) = recurred {
        event.count = Some(bounded(recurred.crashes.into()));
        event.last_timestamp = Timestamp::from_second(recurred.last.as_second())
            .map(Time)
            .ok();
    }
    Some(event)
}

/// What leads from an Event to the Captures that stand for its fault, and to the pod's own file.
fn annotations(status: &CaptureStatus) -> BTreeMap<String, String> {
    let said = [(FINGERPRINT, &status.fingerprint), (FILE, &status.file)];
    let said = said.into_iter();
    said.filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
        .collect()
}

/// The Event of the owner of a fault, from that of a pod. `kubectl describe` shows it for owners whose UID is known.
/// Each node would write one of its own, since an agent may not change those of other nodes.
fn event_of_owner(of_pod: Event, fault: &Fault, node: &str, count: i64) -> Event {
    let Owner {
        api_version,
        kind,
        name,
        uid,
    } = fault.owner.clone();
    let seed = [kind.as_str(), &fault.container, &fault.fingerprint, node];
    let pod = of_pod.involved_object.name.unwrap_or_default();
    let message = of_pod.message.unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(named(&name, '.', &seed)),
            ..of_pod.metadata
        },
        message: Some(cut(&format!("pod {pod}: {message}"), NOTE_LIMIT)),
        involved_object: ObjectReference {
            api_version: Some(api_version),
            kind: Some(kind),
            name: Some(name),
            uid,
            field_path: None,
            ..of_pod.involved_object
        },
        count: Some(bounded(count)),
        ..of_pod
    }
}

/// The Event that says that a loop is over, from the one that said that it went on.
fn recovered(announcement: &Announcement, crashed: &Event) -> Option<Event> {
    let recurred = announcement.recurred?;
    let over = Timestamp::from_second(recurred.over?.as_second()).ok()?;
    let container = announcement.status.container.as_deref()?;
    let restarts = match recurred.crashes {
        1 => "1 restart".to_owned(),
        crashes => format!("{crashes} restarts"),
    };
    let verdict = crashed.message.as_deref().unwrap_or_default();
    let message = format!("{container} recovered after {restarts}; before, {verdict}");
    let uid = crashed.involved_object.uid.as_deref()?;
    let seed = [uid, container, RECOVERED, &over.as_second().to_string()];
    Some(Event {
        metadata: ObjectMeta {
            name: Some(named(&announcement.spec.pod_name, '.', &seed)),
            ..crashed.metadata.clone()
        },
        type_: Some("Normal".to_owned()),
        reason: Some(RECOVERED.to_owned()),
        message: Some(cut(&message, NOTE_LIMIT)),
        count: Some(1),
        first_timestamp: Some(Time(over)),
        last_timestamp: Some(Time(over)),
        ..crashed.clone()
    })
}

/// A count as an Event has it.
fn bounded(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(recurred: Option<Recurred>) -> Announcement {
        Announcement {
            namespace: "shop".to_owned(),
            object: Object::Named("web-1".to_owned()),
            spec: CaptureSpec {
                pod_name: "web-5796d5bc7c-x2x9z".to_owned(),
                ..CaptureSpec::default()
            },
            status: CaptureStatus {
                pod_uid: Some("u1".to_owned()),
                container: Some("main".to_owned()),
                verdict: Some("main exited 1".to_owned()),
                fingerprint: Some("0123456789abcdef".to_owned()),
                ..CaptureStatus::default()
            },
            kind: ContainerKind::App,
            ended: Timestamp::UNIX_EPOCH,
            recurred,
            fault: None,
        }
    }

    #[test]
    fn an_event_names_the_fault() {
        let event = event(&announcement(None), "n1").unwrap();
        let annotations = event.metadata.annotations.unwrap();
        assert_eq!(annotations[FINGERPRINT], "0123456789abcdef");
    }

    #[test]
    fn an_owner_has_one_event_for_a_fault_whichever_pod_had_it() {
        let fault = Fault {
            owner: Owner {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                name: "web".to_owned(),
                uid: None,
            },
            container: "main".to_owned(),
            fingerprint: "0123456789abcdef".to_owned(),
        };
        let mut another = announcement(None);
        another.spec.pod_name = "web-5796d5bc7c-2jdr5".to_owned();
        another.status.pod_uid = Some("u2".to_owned());
        let of = |announcement: &Announcement, count| {
            event_of_owner(event(announcement, "n1").unwrap(), &fault, "n1", count)
        };
        let (one, other) = (of(&announcement(None), 1), of(&another, 200));
        assert_eq!(one.metadata.name, other.metadata.name);
        assert_eq!(other.count, Some(200));
        let object = &other.involved_object;
        assert_eq!(object, &one.involved_object);
        let (kind, name) = (object.kind.as_deref(), object.name.as_deref());
        assert_eq!((kind, name), (Some("Deployment"), Some("web")));
        let said = other.message.as_deref();
        assert_eq!(said, Some("pod web-5796d5bc7c-2jdr5: main exited 1"));
    }

    #[test]
    fn the_event_of_a_loop_counts_its_crashes_and_another_one_ends_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut recurred = Recurred {
            crashes: 14,
            last: at(1800),
            over: None,
        };
        let first = event(&announcement(None), "n1").unwrap();
        let going_on = announcement(Some(recurred));
        let again = event(&going_on, "n1").unwrap();
        assert_eq!(first.metadata.name, again.metadata.name);
        assert_eq!((first.count, again.count), (Some(1), Some(14)));
        assert_eq!(first.first_timestamp, again.first_timestamp);
        assert_eq!(again.last_timestamp, Some(Time(at(1800))));
        assert_eq!(recovered(&going_on, &again), None);
        recurred.over = Some(at(2400));
        let over = recovered(&announcement(Some(recurred)), &again).unwrap();
        let said = over.message.unwrap();
        assert_eq!(
            said,
            "main recovered after 14 restarts; before, main exited 1"
        );
        assert_ne!(over.metadata.name, again.metadata.name);
        assert_eq!(over.involved_object, again.involved_object);
        let (kind, count) = (over.type_.as_deref(), over.count);
        assert_eq!((kind, count), (Some("Normal"), Some(1)));
    }
}
