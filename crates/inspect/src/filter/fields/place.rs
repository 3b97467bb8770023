//! `run.*`, `container.*`, `k8s.*`: where the event was recorded.

use capture_format::{Container, Pod};

use super::{Ask, Field, Value};
use crate::filter::literal::Type;

#[rustfmt::skip]
pub(super) const FIELDS: &[Field] = &[
    Field::new(
        "run.number",
        Type::Number,
        "Number of the run; on Kubernetes the restart count + 1",
        "run.number >= 3",
        |ask| Some(Value::Number(ask.scope.run.number.into())),
    ),
    Field::new(
        "container.id",
        Type::Text,
        "First 12 characters of the container's id",
        "container.id = 3ad7b26ded6d",
        |ask| Value::said(shortened(&container(ask).id)),
    ),
    Field::new(
        "container.full_id",
        Type::Text,
        "The container's id",
        "container.full_id startswith 3ad7b26ded6d",
        |ask| Value::said(&container(ask).id),
    ),
    Field::new(
        "container.name",
        Type::Text,
        "Name of the container; for `lastword run`, of the command",
        "container.name = web",
        |ask| Value::said(&container(ask).name),
    ),
    Field::new(
        "container.image",
        Type::Text,
        "Its image",
        "container.image contains nginx",
        |ask| Value::said(&container(ask).image),
    ),
    Field::new(
        "k8s.pod.name",
        Type::Text,
        "Name of its pod",
        "k8s.pod.name startswith web-",
        |ask| Value::said(&pod(ask)?.name),
    ),
    Field::new(
        "k8s.pod.uid",
        Type::Text,
        "UID of its pod",
        "k8s.pod.uid exists",
        |ask| Value::said(&pod(ask)?.uid),
    ),
    Field::new(
        "k8s.ns.name",
        Type::Text,
        "Namespace of its pod",
        "k8s.ns.name = default",
        |ask| Value::said(&pod(ask)?.namespace),
    ),
    Field::new(
        "evt.hostname",
        Type::Text,
        "Name of the node",
        "evt.hostname = node-1",
        |ask| Value::said(&ask.scope.header.host.name),
    ),
];

fn container<'a>(ask: &Ask<'a>) -> &'a Container {
    &ask.scope.header.container
}

fn pod<'a>(ask: &Ask<'a>) -> Option<&'a Pod> {
    ask.scope.header.pod.as_ref()
}

/// A container id in the short form that Docker, sysdig and Falco use.
fn shortened(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
