//! `dns.*`: the DNS message that was sent or received.

use super::event::moves_bytes;
use super::{Ask, Field, Value};
use crate::filter::literal::Type;
use events::decode::Message;
use events::fds::is_on_socket;

#[rustfmt::skip]
pub(super) const FIELDS: &[Field] = &[
    Field::new(
        "dns.name",
        Type::Text,
        "Name that is asked for, as sent, without the final dot",
        "dns.name = flask.default.svc.cluster.local",
        |ask| Some(Value::text(message(ask)?.name)),
    )
    .on(moves_bytes),
    Field::new(
        "dns.type",
        Type::Text,
        "Type of record that is asked for",
        "dns.type = AAAA",
        |ask| Some(Value::text(message(ask)?.qtype)),
    )
    .on(moves_bytes),
    Field::new(
        "dns.response",
        Type::Boolean,
        "Whether the message is a response",
        "dns.response = true",
        |ask| Some(Value::Boolean(message(ask)?.response)),
    )
    .on(moves_bytes),
    Field::new(
        "dns.rcode",
        Type::Text,
        "Response code by name; queries have none",
        "dns.rcode = NXDOMAIN",
        |ask| {
            Some(Value::text(
                message(ask).filter(|it| it.response)?.rcode.to_string(),
            ))
        },
    )
    .on(moves_bytes),
    Field::new(
        "dns.id",
        Type::Number,
        "Transaction id",
        "dns.id = 0x1f",
        |ask| Some(Value::Number(message(ask)?.id.into())),
    )
    .on(moves_bytes),
    Field::new(
        "dns.answer",
        Type::Text,
        "A record of the answer, with its type; there may be several",
        "dns.answer = \"A 10.0.0.7\"",
        |ask| answers(ask),
    )
    .on(moves_bytes),
];

fn message(ask: &Ask<'_>) -> Option<Message> {
    let (event, fd) = (ask.seen.event, ask.seen.fd.as_ref());
    let may_be = moves_bytes(event.kind) && is_on_socket(event, fd);
    may_be.then(|| Message::parse_framed(&event.data)).flatten()
}

fn answers(ask: &Ask<'_>) -> Option<Value<'static>> {
    let answers = message(ask)?.answers.into_iter().map(Value::text);
    let answers: Vec<_> = answers.collect();
    (!answers.is_empty()).then_some(Value::Any(answers))
}
