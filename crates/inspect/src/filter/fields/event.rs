//! `evt.*`, `fs.path.*`: the event itself.

use capture_format::{Class, EventFlags, EventKind as K};

use super::{Ask, Field, RestsOn, Takes, Value};
use crate::filter::literal::{Type, event_name};
use crate::show::args::{Argument, arg_names, args};
use events::decode::Errno;
use events::fds::has_path;

#[rustfmt::skip]
pub(super) const FIELDS: &[Field] = &[
    Field::new("evt.num", Type::Number, "Number of the event in the capture, from 1", "evt.num >= 17",
        |ask| Some(Value::Number(ask.seen.number.into()))).rests_on(RestsOn::Number),
    Field::new("evt.time", Type::Time, "When it happened; of a system call, when it returned", "evt.time > 23:36:04.5",
        |ask| Some(Value::Time(time_of_day(ask)))),
    Field::new("evt.rawtime", Type::Number, "The same in nanoseconds since the Unix epoch", "evt.rawtime > 1795217764000000000",
        |ask| Some(Value::Number(time_of_day(ask)))),
    Field::new("evt.reltime", Type::Duration, "The same since the run's start, as `lastword show` prints it", "evt.reltime < 20ms",
        |ask| Some(Value::Number(ask.seen.event.time.offset_from(ask.scope.run.start)))),
    Field::new("evt.boottime", Type::Number, "The same in nanoseconds of CLOCK_BOOTTIME, as `time_ns` in JSON", "evt.boottime >= 1000000000000",
        |ask| Some(Value::Number(ask.seen.event.time.0.into()))).rests_on(RestsOn::Boottime),
    Field::new("evt.type", Type::Event, "What happened: a system call by name, or exec, fork, exit, signal, signal_deliver, oom_kill, stdio, interrupted, gap", "evt.type in (open, openat)",
        |ask| Some(kind(ask.seen.event.kind))).rests_on(RestsOn::Kind(kind)),
    Field::new("evt.failed", Type::Boolean, "Whether the system call returned an error", "evt.failed = true",
        |ask| Some(failed(ask.seen.event.ret))).on(K::is_syscall).rests_on(RestsOn::Return(failed)),
    Field::new("evt.res", Type::Result, "SUCCESS, or the error by name", "evt.res = ENOENT",
        |ask| Some(result(ask.seen.event.ret))).on(K::is_syscall).rests_on(RestsOn::Return(result)),
    Field::new("evt.rawres", Type::Number, "What the system call returned; an error is negative", "evt.rawres = -2",
        |ask| Some(returned(ask.seen.event.ret))).on(K::is_syscall).rests_on(RestsOn::Return(returned)),
    Field::new("evt.args", Type::Text, "Its arguments as `lastword show` prints them, without descriptor and path", "evt.args contains O_CREAT",
        joined_args),
    Field::new("evt.arg", Type::Text, "One argument by name, in brackets or after a dot", "evt.arg[signal] = SIGTERM",
        argument).takes(Takes::Name(arg_names)),
    Field::new("evt.is_io", Type::Boolean, "Whether it reads, writes, sends or receives", "evt.is_io = true",
        |ask| Some(is_io(ask.seen.event.kind))).rests_on(RestsOn::Kind(is_io)),
    Field::new("evt.is_io_read", Type::Boolean, "Whether it reads or receives", "evt.is_io_read = true",
        |ask| Some(is_io_read(ask.seen.event.kind))).rests_on(RestsOn::Kind(is_io_read)),
    Field::new("evt.is_io_write", Type::Boolean, "Whether it writes or sends", "evt.is_io_write = true",
        |ask| Some(is_io_write(ask.seen.event.kind))).rests_on(RestsOn::Kind(is_io_write)),
    Field::new("evt.is_open_read", Type::Boolean, "Whether it opens a file to read it", "evt.is_open_read = true",
        |ask| opens_for(ask, &[O_RDONLY, O_RDWR])).on(opens),
    Field::new("evt.is_open_write", Type::Boolean, "Whether it opens a file to write to it", "evt.is_open_write = true",
        |ask| opens_for(ask, &[O_WRONLY, O_RDWR])).on(opens),
    Field::new("evt.buffer", Type::Text, "Bytes read, written, sent or received, as far as they were recorded", "evt.buffer contains \"host not found\"",
        |ask| Value::bytes(&ask.seen.event.data)).on(moves_bytes),
    Field::new("evt.buflen", Type::Number, "How many bytes of them were recorded", "evt.buflen > 0",
        |ask| Some(Value::Number(ask.seen.event.data.len() as i128))).on(moves_bytes),
    Field::new("evt.flags", Type::Word, "What is wrong or missing about the record; there may be several", "evt.flags = truncated",
        |ask| flags(ask.seen.event.flags)).words(FLAG_WORDS),
    Field::new("fs.path.name", Type::Text, "The path it acts on, absolute where the working directory is known", "fs.path.name startswith /etc/",
        |ask| Value::bytes(&ask.seen.path)).on(has_path),
    Field::new("fs.path.nameraw", Type::Text, "The path as the process passed it", "fs.path.nameraw = resolv.conf",
        |ask| Value::bytes(&ask.seen.event.name)).on(has_path),
];

const O_RDONLY: i64 = 0;
const O_WRONLY: i64 = 1;
const O_RDWR: i64 = 2;
const O_ACCMODE: i64 = 3;

const FLAGS: [(EventFlags, &str); 6] = [
    (EventFlags::TORN, "torn"),
    (EventFlags::FAULT, "unreadable"),
    (EventFlags::TRUNCATED, "truncated"),
    (EventFlags::NAME_TRUNCATED, "name_truncated"),
    (EventFlags::REDACTED, "redacted"),
    (EventFlags::ADOPTED, "adopted"),
];
/// The names in [`FLAGS`].
const FLAG_WORDS: &[&str] = &[
    "torn",
    "unreadable",
    "truncated",
    "name_truncated",
    "redacted",
    "adopted",
];

fn time_of_day(ask: &Ask<'_>) -> i128 {
    ask.scope.header.host.time_of_day(ask.seen.event.time)
}

fn failed(ret: i64) -> Value<'static> {
    Value::Boolean(Errno::from_ret(ret).is_some())
}

fn result(ret: i64) -> Value<'static> {
    Value::Result(Errno::from_ret(ret))
}

fn returned(ret: i64) -> Value<'static> {
    Value::Number(ret.into())
}

/// The name of a kind. A program that was executed is called execve, as in sysdig and Falco.
fn kind(kind: K) -> Value<'static> {
    match kind {
        K::EXEC => Value::Any(vec![
            Value::text(event_name(K::EXEC)),
            Value::text(event_name(K::EXECVE)),
        ]),
        kind => Value::text(event_name(kind)),
    }
}

/// Whether `data` of such an event contains the bytes that the call moved.
pub(super) fn moves_bytes(kind: K) -> bool {
    kind.class().moves_bytes()
}

pub(super) fn opens(kind: K) -> bool {
    kind.class() == Class::Opens
}

fn is_io(kind: K) -> Value<'static> {
    Value::Boolean(moves_bytes(kind))
}

fn is_io_read(kind: K) -> Value<'static> {
    Value::Boolean(kind.class().takes_in())
}

fn is_io_write(kind: K) -> Value<'static> {
    Value::Boolean(kind.class().gives_out())
}

fn opens_for(ask: &Ask<'_>, modes: &[i64]) -> Option<Value<'static>> {
    let event = ask.seen.event;
    let mode = match event.kind {
        K::CREAT => O_WRONLY,
        _ => event.args[1] & O_ACCMODE,
    };
    Some(Value::Boolean(modes.contains(&mode)))
}

fn joined_args<'a>(ask: &Ask<'a>) -> Option<Value<'a>> {
    let mut joined = String::new();
    for (name, value) in args_of(ask) {
        if !joined.is_empty() {
            joined.push_str(", ");
        }
        joined.push_str(name);
        joined.push('=');
        value.push_to(&mut joined, &ask.scope.header.host.arch);
    }
    (!joined.is_empty()).then(|| Value::text(joined))
}

fn argument<'a>(ask: &Ask<'a>) -> Option<Value<'a>> {
    let crate::filter::ast::Argument::Name(wanted) = ask.argument else {
        return None;
    };
    let (_, value) = args_of(ask).into_iter().find(|(name, _)| name == wanted)?;
    let mut text = String::new();
    value.push_to(&mut text, &ask.scope.header.host.arch);
    Some(Value::text(text))
}

fn args_of(ask: &Ask<'_>) -> Vec<Argument> {
    let mut all = Vec::new();
    args(ask.seen.event, &mut all);
    all
}

fn flags(flags: EventFlags) -> Option<Value<'static>> {
    let set = FLAGS.iter().filter(|(flag, _)| flags.contains(*flag));
    let set: Vec<_> = set.map(|&(_, name)| Value::text(name)).collect();
    (!set.is_empty()).then_some(Value::Any(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_word() {
        assert!(FLAGS.iter().map(|(_, name)| name).eq(FLAG_WORDS));
    }
}
