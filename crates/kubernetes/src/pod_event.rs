//! An Event of lastword on a pod.
//!
//! Events are applied under names that are the same each time they are computed, so that repeating one changes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};

use crate::{
    Error,
    error::{PATCH_EVENTS, call},
    name::named,
    pods::ContainerKind,
    text::cut,
};

/// Field manager of what the agent applies.
pub(crate) const MANAGER: &str = "lastword";
/// The longest `note` of an Event (events.k8s.io/v1), in bytes.
pub(crate) const NOTE_LIMIT: usize = 1024;

/// What is reported about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// The container's role.
    pub kind: ContainerKind,
    /// One word in CamelCase, for programs.
    pub reason: &'static str,
    /// A sentence for people; cut after 1024 bytes.
    pub message: String,
    /// Distinguishes Events about the same container.
    pub about: String,
    /// Annotations of the Event.
    pub annotations: BTreeMap<String, String>,
    /// When it happened. It must be the same in every attempt.
    pub time: Timestamp,
}

/// Applies an Event under its name, in its namespace.
pub(crate) async fn apply(client: &Client, event: &Event) -> Result<(), Error> {
    let metadata = &event.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let name = metadata.name.as_deref().unwrap_or_default();
    let params = PatchParams::apply(MANAGER).force();
    call(PATCH_EVENTS, api.patch(name, &params, &Patch::Apply(event))).await?;
    Ok(())
}

impl PodEvent {
    /// Puts the Event on the pod, which may already be gone, as the agent of `node`.
    ///
    /// # Errors
    /// The API server's. Trying again does no harm.
    pub async fn apply(&self, client: &Client, node: &str) -> Result<(), Error> {
        apply(client, &self.object(node)).await
    }

    fn name(&self) -> String {
        named(&self.pod, '.', &[&self.uid, &self.container, &self.about])
    }

    /// The Event belongs to the core group and has both times: kubectl before 1.22 shows the age of no other Event.
    pub(crate) fn object(&self, node: &str) -> Event {
        // Rounded to the second, as it is stored: when it is applied again, it must be the same.
        let time = Timestamp::from_second(self.time.as_second()).unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                name: Some(self.name()),
                namespace: Some(self.namespace.clone()),
                annotations: Some(self.annotations.clone()).filter(|all| !all.is_empty()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(self.namespace.clone()),
                name: Some(self.pod.clone()),
                uid: Some(self.uid.clone()),
                field_path: Some(self.kind.field_path(&self.container)),
                resource_version: None,
            },
            type_: Some("Warning".to_owned()),
            reason: Some(self.reason.to_owned()),
            message: Some(cut(&self.message, NOTE_LIMIT)),
            count: Some(1),
            first_timestamp: Some(Time(time)),
            last_timestamp: Some(Time(time)),
            source: Some(EventSource {
                component: Some(MANAGER.to_owned()),
                host: Some(node.to_owned()),
            }),
            reporting_component: Some(MANAGER.to_owned()),
            reporting_instance: Some(node.to_owned()),
            ..Event::default()
        }
    }
}
