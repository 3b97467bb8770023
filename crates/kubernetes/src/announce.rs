//! Announcing a capture: its verdict becomes an Event on the pod and a `Capture` object.
//!
//! Both are applied (server-side apply) under names that are the same each time they are computed. So announcing
//! again, even after a restart of the agent, changes nothing, and a better verdict on the same capture replaces the
//! former one.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
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
    capture::{Capture, CaptureSpec, CaptureStatus},
    error::{PATCH_CAPTURE_STATUS, PATCH_CAPTURES, PATCH_EVENTS, call},
    name::named,
    pods::ContainerKind,
    text::cut,
};

/// Owns what the agent applies: spec and Event.
const MANAGER: &str = "lastword";
/// Owns the status. Before Kubernetes 1.22 fields were not owned by subresource, and one manager for both would give up the spec by applying the status.
const STATUS_MANAGER: &str = "lastword-status";
/// `reason` of the agent's own Events.
pub const REASON: &str = "LastWords";
/// The longest `note` of an Event (events.k8s.io/v1), in bytes.
const NOTE_LIMIT: usize = 1024;
const WHO: &str = "announce";

/// What is to be announced.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// The pod's namespace.
    pub namespace: String,
    /// Name of the `Capture`: [`crate::capture_name`], or that of the one that was requested.
    pub name: String,
    /// Whether the `Capture` is made if there is none. False for one that was requested or announced before: who deleted it wants it gone.
    pub create: bool,
    /// Its spec; written only if `create`.
    pub spec: CaptureSpec,
    /// Its whole status. With a verdict, pod UID and container, the pod gets an Event.
    pub status: CaptureStatus,
    /// What the container is for.
    pub kind: ContainerKind,
    /// When the run that the verdict is about ended, or when it was looked at alive: the Event's time. It must not change from one attempt to the next.
    pub ended: Timestamp,
}

/// Announces, as one node's agent.
#[derive(Clone)]
pub struct Announcer {
    client: Client,
    node: String,
    health: Health,
}

impl Announcer {
    /// For the agent of `node`.
    #[must_use]
    pub fn new(client: Client, node: &str, health: Health) -> Self {
        Self {
            client,
            node: node.to_owned(),
            health,
        }
    }

    /// Puts the Event on the pod (which may be gone already) and writes the `Capture`. Safe to repeat.
    ///
    /// # Errors
    /// What [`Error::retry`] says may be tried again is tried again in whole; [`Error::NamespaceGone`] and [`Error::NotFound`] (the `Capture` was
    /// deleted) mean that there is nobody left to tell. If both fail, the error that can be retried sooner is returned.
    pub async fn announce(&self, announcement: &Announcement) -> Result<(), Error> {
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
        let api: Api<Event> = Api::namespaced(self.client.clone(), &announcement.namespace);
        let name = event.metadata.name.clone().unwrap_or_default();
        let params = PatchParams::apply(MANAGER).force();
        let asked = Timestamp::now();
        call(
            PATCH_EVENTS,
            api.patch(&name, &params, &Patch::Apply(&event)),
        )
        .await?;
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

    async fn write(&self, announcement: &Announcement) -> Result<(), Error> {
        let Announcement {
            namespace,
            name,
            spec,
            ..
        } = announcement;
        if announcement.create {
            let api: Api<Capture> = Api::namespaced(self.client.clone(), namespace);
            let patch = applied(name, None, "spec", &spec.clone().bounded());
            let params = PatchParams::apply(MANAGER).force();
            call(PATCH_CAPTURES, api.patch(name, &params, &patch)).await?;
        }
        apply_status(&self.client, namespace, name, None, &announcement.status).await
    }
}

/// Writes the status of a `Capture`; with `resource_version`, only if nobody changed it since ([`Error::Conflict`]).
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
    let patch = applied(name, resource_version, "status", status);
    call(ACCESS, api.patch_status(name, &params, &patch)).await?;
    Ok(())
}

/// A `Capture` with one of its parts, to be applied.
fn applied(
    name: &str,
    resource_version: Option<&str>,
    part: &str,
    value: &impl Serialize,
) -> Patch<serde_json::Value> {
    let mut metadata = json!({ "name": name });
    if let Some(version) = resource_version {
        metadata["resourceVersion"] = version.into();
    }
    Patch::Apply(json!({
        "apiVersion": "lastword.dev/v1alpha1",
        "kind": "Capture",
        "metadata": metadata,
        part: value,
    }))
}

/// The Event that says the verdict. Of the core group and with both times set: kubectl before 1.22 shows the age of no other.
fn event(announcement: &Announcement, node: &str) -> Option<Event> {
    let Announcement {
        namespace,
        name: _,
        spec,
        status,
        kind,
        ended,
        create: _,
    } = announcement;
    let verdict = status
        .verdict
        .as_deref()
        .filter(|verdict| !verdict.is_empty())?;
    let container = status.container.as_deref()?;
    let uid = status.pod_uid.clone()?;
    // One for each cause, however many captures show it.
    let seed = [
        uid.as_str(),
        container,
        status.cause.as_deref().unwrap_or_default(),
    ];
    // To the second, as it is stored: what is applied again must be the same.
    let time = Time(Timestamp::from_second(ended.as_second()).ok()?);
    Some(Event {
        metadata: ObjectMeta {
            name: Some(named(&spec.pod_name, '.', &seed)),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(spec.pod_name.clone()),
            uid: Some(uid),
            field_path: Some(kind.field_path(container)),
            resource_version: None,
        },
        type_: Some("Warning".to_owned()),
        reason: Some(REASON.to_owned()),
        message: Some(cut(verdict, NOTE_LIMIT)),
        count: Some(1),
        first_timestamp: Some(time.clone()),
        last_timestamp: Some(time),
        source: Some(EventSource {
            component: Some(MANAGER.to_owned()),
            host: Some(node.to_owned()),
        }),
        reporting_component: Some(MANAGER.to_owned()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    })
}
