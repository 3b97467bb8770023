//! The fields: one table, with a file for each class of fields.

use std::borrow::Cow;
use std::net::IpAddr;

use capture_format::EventKind;
use serde::Serialize;

use super::Scope;
use super::ast::Argument;
use super::literal::Type;
use events::context::Seen;
use events::decode::Errno;

mod descriptor;
mod dns;
mod event;
mod place;
mod process;

/// One field of the language.
#[derive(Debug, Serialize)]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// The type of its values.
    #[serde(rename = "type")]
    pub of: Type,
    /// What the field means, in a sentence.
    pub meaning: &'static str,
    /// An expression that uses the field.
    pub example: &'static str,
    /// All values that a field of the type [`Type::Word`] can have.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub words: &'static [&'static str],
    #[serde(skip)]
    pub(super) takes: Takes,
    /// Kinds of events that may have the field; no other kind does.
    #[serde(skip)]
    pub(super) on: fn(EventKind) -> bool,
    #[serde(skip)]
    pub(super) rests_on: RestsOn,
    #[serde(skip)]
    get: for<'a> fn(&Ask<'a>) -> Option<Value<'a>>,
}

/// Two fields are the same if they have the same name.
impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What may or must follow a field's name in brackets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    Nothing,
    /// A number of generations, or nothing.
    Generation,
    /// One of these names.
    Name(fn() -> Vec<&'static str>),
}

/// Which part of an event decides about the field's value. It matters if a block's summary or one of a few columns has
/// that part.
#[derive(Clone, Copy, Debug)]
pub(super) enum RestsOn {
    Kind(fn(EventKind) -> Value<'static>),
    Pid,
    Number,
    Boottime,
    /// What the call returned. A summary does not have it, but a column does.
    Return(fn(i64) -> Value<'static>),
    /// More than that.
    More,
}

/// An event of which a field is asked.
pub(super) struct Ask<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) seen: &'a Seen<'a>,
    pub(super) argument: &'a Argument,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A number. Durations are numbers, too: nanoseconds.
    Number(i128),
    Boolean(bool),
    Text(Cow<'a, [u8]>),
    /// What a call returned: an error, or `None` if it succeeded.
    Result(Option<Errno>),
    /// Nanoseconds since the Unix epoch.
    Time(i128),
    Address(IpAddr),
    /// Several values. A comparison holds if it holds for one of them.
    Any(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// A text; `None` if it is empty, because then it says nothing.
    fn said(text: &'a str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::text(text))
    }

    fn bytes(bytes: &'a [u8]) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self::Text(Cow::Borrowed(bytes)))
    }
}

impl Field {
    /// A field that every event may have.
    const fn new(
        name: &'static str,
        of: Type,
        meaning: &'static str,
        example: &'static str,
        get: for<'a> fn(&Ask<'a>) -> Option<Value<'a>>,
    ) -> Self {
        Self {
            name,
            of,
            meaning,
            example,
            words: &[],
            takes: Takes::Nothing,
            on: |_| true,
            rests_on: RestsOn::More,
            get,
        }
    }

    const fn words(self, words: &'static [&'static str]) -> Self {
        Self { words, ..self }
    }

    const fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    const fn on(self, on: fn(EventKind) -> bool) -> Self {
        Self { on, ..self }
    }

    const fn rests_on(self, rests_on: RestsOn) -> Self {
        Self { rests_on, ..self }
    }

    /// The field's value; `None` if the event does not have the field.
    pub(super) fn get<'a>(&self, ask: &Ask<'a>) -> Option<Value<'a>> {
        (self.get)(ask)
    }
}

const CLASSES: [&[Field]; 5] = [
    event::FIELDS,
    process::FIELDS,
    descriptor::FIELDS,
    dns::FIELDS,
    place::FIELDS,
];

/// All fields, in the order in which they are listed.
pub fn fields() -> impl Iterator<Item = &'static Field> {
    CLASSES.into_iter().flatten()
}

/// The field with this name. For `evt.arg.flags`, also the part that could be written in brackets.
pub(super) fn find(name: &str) -> Option<(&'static Field, Option<&str>)> {
    let exact = fields().find(|field| field.name == name);
    let with_suffix = || {
        let mut named = fields().filter(|field| matches!(field.takes, Takes::Name(_)));
        named.find_map(|field| {
            let suffix = name.strip_prefix(field.name)?.strip_prefix('.')?;
            Some((field, Some(suffix)))
        })
    };
    exact.map(|field| (field, None)).or_else(with_suffix)
}

/// The field with exactly this name; the table has it.
pub(super) fn boottime() -> Option<&'static Field> {
    fields().find(|field| matches!(field.rests_on, RestsOn::Boottime))
}
