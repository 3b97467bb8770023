//! The types of fields, and the values with which they are compared.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use capture_format::EventKind;
use ipnet::IpNet;
use jiff::civil::Time as CivilTime;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::error::{Fault, quoted, suggestion};
use super::lexer::Word;
use events::decode::Errno;

pub(super) const SECOND: i128 = 1_000_000_000;
/// A day in nanoseconds.
pub(crate) const DAY: i128 = 86_400 * SECOND;
/// The value of `evt.res` if a call succeeded.
pub(super) const SUCCESS: &str = "SUCCESS";

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// An integer: `7`, `-2`, `0x1f`.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Bytes, compared as they are.
    Text,
    /// An event by name: a system call, or `exec`, `fork`, `exit`, ….
    Event,
    /// `SUCCESS`, or an error by name or number.
    Result,
    /// One of a few words.
    Word,
    /// A length of time: `1.5s`, `20ms`, or nanoseconds as a number.
    Duration,
    /// A moment: RFC 3339, or the time of day (UTC).
    Time,
    /// An IP address; it is compared with an address or a network.
    Address,
}

impl Type {
    /// Whether values can be compared as smaller or greater.
    pub(super) fn is_ordered(self) -> bool {
        matches!(self, Self::Number | Self::Duration | Self::Time)
    }

    /// Whether values can be searched for a part.
    pub(super) fn is_textual(self) -> bool {
        matches!(self, Self::Text | Self::Event | Self::Result | Self::Word)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::Event => "event",
            Self::Result => "result",
            Self::Word => "word",
            Self::Duration => "duration",
            Self::Time => "time",
            Self::Address => "address",
        })
    }
}

/// A value that a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Number(i128),
    Boolean(bool),
    Text(Vec<u8>),
    /// What a call returned: an error, or `None` if it succeeded.
    Result(Option<Errno>),
    /// Nanoseconds.
    Duration(i128),
    /// Nanoseconds since the Unix epoch.
    Instant(i128),
    /// Nanoseconds since midnight, UTC.
    TimeOfDay(i128),
    /// A network. A single address is a network, too.
    Network(IpNet),
}

impl Literal {
    /// Reads a value for a field of this type; `words` are the values that a [`Type::Word`] can have.
    pub(super) fn parse(
        wanted: Type,
        words: &[&'static str],
        word: &Word<'_>,
    ) -> Result<Self, Fault> {
        let raw = word.raw;
        let wrong = |what: &str| Fault::new(word.at.clone(), format!("{} is {what}", quoted(raw)));
        match wanted {
            Type::Text => Ok(Self::Text(word.bytes()?)),
            Type::Number => integer(raw)
                .map(Self::Number)
                .ok_or_else(|| wrong("no integer").help("such as 7, -2 or 0x1f".to_owned())),
            Type::Boolean => match raw {
                "true" => Ok(Self::Boolean(true)),
                "false" => Ok(Self::Boolean(false)),
                _ => Err(wrong("neither true nor false")),
            },
            Type::Event => event(raw).ok_or_else(|| wrong("no event").help(event_help(raw))),
            Type::Result => result(raw).ok_or_else(|| {
                let help = suggestion(raw, Errno::names().chain([SUCCESS]));
                let help = help.unwrap_or_else(|| "such as SUCCESS, ENOENT or 2".to_owned());
                wrong("no result").help(help)
            }),
            Type::Word => {
                match words.iter().find(|known| **known == raw) {
                    Some(known) => Ok(Self::Text(known.as_bytes().to_vec())),
                    None => Err(wrong("nothing that it can be")
                        .help(format!("it can be {}", words.join(", ")))),
                }
            }
            Type::Duration => duration(raw).map(Self::Duration).ok_or_else(|| {
                wrong("no length of time").help("such as 1.5s, 20ms or -3us".to_owned())
            }),
            Type::Time => time(raw).ok_or_else(|| {
                wrong("no time").help("such as 23:36:04.5 (UTC) or 2026-11-20T23:36:04Z".to_owned())
            }),
            Type::Address => network(raw).map(Self::Network).ok_or_else(|| {
                wrong("neither an address nor a network")
                    .help("such as 10.96.0.10, 10.0.0.0/8 or ::1".to_owned())
            }),
        }
    }
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((digits, 10), |digits| (digits, 16));
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// The name of a kind of event; `kind_N` for a kind that this version does not know.
pub(super) fn event_name(kind: EventKind) -> std::borrow::Cow<'static, str> {
    kind.name()
        .map_or_else(|| format!("kind_{}", kind.0).into(), Into::into)
}

fn event(text: &str) -> Option<Literal> {
    let unknown = text.strip_prefix("kind_").and_then(|it| it.parse().ok());
    let known = EventKind::ALL.iter().copied();
    let mut kinds = known.chain(unknown.map(EventKind));
    let kind = kinds.find(|kind| event_name(*kind) == text)?;
    Some(Literal::Text(event_name(kind).into_owned().into_bytes()))
}

/// Events that sysdig and Falco call by other names.
const FOREIGN_EVENTS: [(&str, &str); 6] = [
    ("procexit", "exit"),
    ("signaldeliver", "signal_deliver"),
    ("send", "sendto"),
    ("recv", "recvfrom"),
    ("pread", "pread64"),
    ("pwrite", "pwrite64"),
];

fn event_help(text: &str) -> String {
    let foreign = FOREIGN_EVENTS.iter().find(|(name, _)| *name == text);
    let names = EventKind::ALL.iter().filter_map(|kind| kind.name());
    let meant = foreign.map(|(_, ours)| format!("did you mean `{ours}`?"));
    meant
        .or_else(|| suggestion(text, names))
        .unwrap_or_else(|| {
            "an event is a system call, or exec, fork, exit, signal, signal_deliver, oom_kill, stdio, interrupted, gap"
                .to_owned()
        })
}

fn result(text: &str) -> Option<Literal> {
    let number = || Errno::from_ret(-i64::try_from(integer(text)?.abs()).ok()?);
    Some(Literal::Result(match text {
        SUCCESS => None,
        name => Some(Errno::named(name).or_else(number)?),
    }))
}

/// Nanoseconds of `1.5s`, `20ms`, `1m30s`; a bare number is nanoseconds, as in sysdig.
pub(crate) fn duration(text: &str) -> Option<i128> {
    /// A longer text is not a duration and is not parsed.
    const MAX_LENGTH: usize = 64;
    if text.len() > MAX_LENGTH {
        return None;
    }
    let length = || Some(SignedDuration::from_str(text).ok()?.as_nanos());
    integer(text).or_else(length)
}

fn time(text: &str) -> Option<Literal> {
    instant(text)
        .map(Literal::Instant)
        .or_else(|| time_of_day(text).map(Literal::TimeOfDay))
}

/// Nanoseconds since the Unix epoch of an RFC 3339 time with its offset.
pub(crate) fn instant(text: &str) -> Option<i128> {
    Some(text.parse::<Timestamp>().ok()?.as_nanosecond())
}

/// Nanoseconds since midnight of `23:36`, `23:36:04` or `23:36:04.5`.
pub(crate) fn time_of_day(text: &str) -> Option<i128> {
    let in_clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.');
    if !text.contains(':') || !text.chars().all(in_clock) {
        return None;
    }
    let time: CivilTime = text.parse().ok()?;
    let seconds =
        i128::from(time.hour()) * 3600 + i128::from(time.minute()) * 60 + i128::from(time.second());
    Some(seconds * SECOND + i128::from(time.subsec_nanosecond()))
}

fn network(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok();
    net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        .map(|net| net.trunc())
}

/// Writes a literal so that [`Literal::parse`] can read it back.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Boolean(flag) => flag.fmt(f),
            Self::Text(text) => write_text(text, f),
            Self::Result(result) => write_result(*result, f),
            Self::Duration(nanoseconds) => {
                let units = [(SECOND, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
                let whole = units
                    .iter()
                    .find(|(unit, _)| nanoseconds % unit == 0 && *nanoseconds != 0);
                match whole {
                    Some((unit, name)) => write!(f, "{}{name}", nanoseconds / unit),
                    None => f.write_str("0s"),
                }
            }
            Self::Instant(instant) => match Timestamp::from_nanosecond(*instant) {
                Ok(timestamp) => timestamp.fmt(f),
                Err(_) => instant.fmt(f),
            },
            Self::TimeOfDay(time) => {
                let (seconds, nanoseconds) = (time / SECOND, time % SECOND);
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                write!(
                    f,
                    "{hours:02}:{minutes:02}:{:02}.{nanoseconds:09}",
                    seconds % 60
                )
            }
            Self::Network(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Network(net) => net.fmt(f),
        }
    }
}

/// Writes a result. An error without a symbol is written as its number.
fn write_result(result: Option<Errno>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match result.map(|errno| (errno.name(), errno.0)) {
        None => f.write_str(SUCCESS),
        Some((Some(name), _)) => f.write_str(name),
        Some((None, number)) => write!(f, "{number}"),
    }
}

/// Writes a text without quotes if possible, else in quotes with escapes.
pub(super) fn write_text(text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
    let keyword = super::grammar::KEYWORDS
        .iter()
        .any(|it| it.as_bytes() == text);
    if !text.is_empty() && !keyword && text.iter().all(is_plain) {
        return f.write_str(&String::from_utf8_lossy(text));
    }
    f.write_str("\"")?;
    for part in text.split_inclusive(|byte| *byte == b'"') {
        let quoted = part.strip_suffix(b"\"");
        write!(f, "{}", events::escape::escaped(quoted.unwrap_or(part)))?;
        f.write_str(quoted.map_or("", |_| "\\\""))?;
    }
    f.write_str("\"")
}
