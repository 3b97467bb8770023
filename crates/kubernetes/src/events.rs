//! The Events of one pod: what Kubernetes says about it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};

use crate::{
    Error, Who,
    error::{LIST_EVENTS, USER_LIST_EVENTS, call},
    text::cut,
};

/// How many Events are requested. The API server keeps them for an hour.
const ASKED: u32 = 500;
/// How many of the newest Events are kept.
const KEPT: usize = 100;
/// How many bytes of each message are kept.
const MESSAGE_LIMIT: usize = 1024;

/// An Event of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// UID of the Event.
    pub uid: String,
    /// The reason, such as `BackOff`.
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// Whether it is of type `Warning`.
    pub warning: bool,
    /// How often it happened.
    pub count: u32,
    /// When it happened first.
    pub first: Option<Timestamp>,
    /// When it happened last.
    pub last: Option<Timestamp>,
    /// The container that it is about: `spec.containers{nginx}`; empty if it is about the pod.
    pub field_path: String,
    /// The component that reported it, such as `kubelet`.
    pub source: String,
}

/// The Events of the pod with this UID, oldest first: the newest hundred.
///
/// # Errors
/// The API server is away, or forbids it.
pub async fn of_pod(
    client: &Client,
    who: Who,
    namespace: &str,
    uid: &str,
) -> Result<Vec<PodEvent>, Error> {
    let access = match who {
        Who::Agent => LIST_EVENTS,
        Who::User => USER_LIST_EVENTS,
    };
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default()
        .fields(&format!("involvedObject.uid={uid}"))
        .limit(ASKED);
    let listed = call(access, api.list(&params)).await?;
    let mut events: Vec<PodEvent> = listed.items.into_iter().map(trim).collect();
    events.sort_by_key(|event| event.last);
    events.drain(..events.len().saturating_sub(KEPT));
    Ok(events)
}

/// Trims both kinds of Event: with count and times, or with a series and a time in microseconds (since Kubernetes
/// 1.19).
fn trim(event: Event) -> PodEvent {
    let occurred = event.event_time.map(|time| time.0);
    let series = event.series.unwrap_or_default();
    let count = event.count.or(series.count).unwrap_or(1);
    let source = event
        .source
        .and_then(|source| source.component)
        .filter(|component| !component.is_empty())
        .or(event.reporting_component);
    PodEvent {
        uid: event.metadata.uid.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        message: cut(&event.message.unwrap_or_default(), MESSAGE_LIMIT),
        warning: event.type_.as_deref() == Some("Warning"),
        count: u32::try_from(count).unwrap_or(1),
        first: event.first_timestamp.map(|time| time.0).or(occurred),
        last: event
            .last_timestamp
            .map(|time| time.0)
            .or(series.last_observed_time.map(|time| time.0))
            .or(occurred),
        field_path: event.involved_object.field_path.unwrap_or_default(),
        source: source.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn trimmed(value: Value) -> PodEvent {
        trim(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn the_events_of_kubelet_and_of_the_newer_kind_are_read_alike() {
        let old = trimmed(json!({
            "metadata": {"uid": "e1"},
            "involvedObject": {"fieldPath": "spec.containers{web}"},
            "reason": "BackOff", "message": "Back-off restarting failed container", "type": "Warning", "count": 7,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:05:00Z",
            "source": {"component": "kubelet", "host": "n1"}, "reportingComponent": "", "eventTime": null,
        }));
        let new = trimmed(json!({
            "metadata": {"uid": "e1"},
            "involvedObject": {"fieldPath": "spec.containers{web}"},
            "reason": "BackOff", "message": "Back-off restarting failed container", "type": "Warning",
            "eventTime": "2026-01-01T00:00:00.000000Z", "firstTimestamp": null, "lastTimestamp": null,
            "series": {"count": 7, "lastObservedTime": "2026-01-01T00:05:00.000000Z"},
            "reportingComponent": "kubelet",
        }));
        assert_eq!(old, new);
        assert_eq!(
            (old.count, old.source.as_str(), old.warning),
            (7, "kubelet", true)
        );
        assert_eq!(old.last.unwrap().to_string(), "2026-01-01T00:05:00Z");
    }
}
