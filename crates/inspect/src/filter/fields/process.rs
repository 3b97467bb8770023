//! `proc.*`, `thread.*`: the process that did it. Ids are in the host's pid namespace unless the field says otherwise.

use std::borrow::Cow;

use super::{Ask, Field, RestsOn, Takes, Value};
use crate::filter::ast::Argument;
use crate::filter::literal::Type;
use events::context::Program;

#[rustfmt::skip]
pub(super) const FIELDS: &[Field] = &[
    Field::new(
        "proc.pid",
        Type::Number,
        "Process id; of a signal, that of the process that gets it",
        "proc.pid in (1, 7)",
        |ask| Some(Value::Number(ask.seen.event.pid.into())),
    )
    .rests_on(RestsOn::Pid),
    Field::new(
        "proc.vpid",
        Type::Number,
        "Process id in the container's own pid namespace",
        "proc.vpid = 1",
        |ask| number(program(ask).namespace_pid.map(|pid| pid.0)),
    ),
    Field::new(
        "proc.name",
        Type::Text,
        "Name: the last component of the file it executes",
        "proc.name = nginx",
        |ask| Value::bytes(&program(ask).name),
    ),
    Field::new(
        "proc.exe",
        Type::Text,
        "First argument of its command line",
        "proc.exe endswith python3",
        |ask| Value::bytes(arguments(program(ask)).next()?),
    ),
    Field::new(
        "proc.exepath",
        Type::Text,
        "The file it executes, as passed to execve",
        "proc.exepath startswith /usr/bin/",
        |ask| Value::bytes(&program(ask).exe),
    ),
    Field::new(
        "proc.args",
        Type::Text,
        "Arguments of its command line, from the second on, with blanks between them",
        "proc.args contains --config",
        |ask| text(joined(arguments(program(ask)).skip(1))),
    ),
    Field::new(
        "proc.cmdline",
        Type::Text,
        "Name and arguments",
        "proc.cmdline = \"sh -c ./start\"",
        |ask| text(command_line(program(ask))),
    ),
    Field::new(
        "proc.ppid",
        Type::Number,
        "Process id of the process that forked it",
        "proc.ppid = 4711",
        |ask| number(program(ask).parent),
    ),
    Field::new(
        "proc.pname",
        Type::Text,
        "Name of the process that forked it, while that lives",
        "proc.pname = sh",
        |ask| Value::bytes(&ask.scope.context.parent(program(ask))?.name),
    ),
    Field::new(
        "proc.pcmdline",
        Type::Text,
        "Name and arguments of the process that forked it, while that lives",
        "proc.pcmdline contains entrypoint.sh",
        |ask| text(command_line(ask.scope.context.parent(program(ask))?)),
    ),
    Field::new(
        "proc.aname",
        Type::Text,
        "Name of any ancestor; with a number in brackets, of the parent (1), its parent (2), …",
        "proc.aname[2] = containerd-shim",
        |ask| {
            ancestry(ask, ask.seen.event.pid, |_, program| {
                Value::bytes(&program.name)
            })
        },
    )
    .takes(Takes::Generation),
    Field::new(
        "proc.apid",
        Type::Number,
        "Process id of any ancestor, likewise",
        "proc.apid = 4711",
        |ask| ancestry(ask, ask.seen.event.pid, |pid, _| number(Some(pid))),
    )
    .takes(Takes::Generation),
    Field::new(
        "thread.tid",
        Type::Number,
        "Thread id",
        "thread.tid != 4711",
        |ask| Some(Value::Number(ask.seen.event.tid.0.into())),
    ),
];

fn program<'a>(ask: &Ask<'a>) -> &'a Program {
    &ask.seen.program
}

fn number(number: Option<u32>) -> Option<Value<'static>> {
    Some(Value::Number(number?.into()))
}

fn text(bytes: Vec<u8>) -> Option<Value<'static>> {
    (!bytes.is_empty()).then_some(Value::Text(Cow::Owned(bytes)))
}

fn arguments(program: &Program) -> impl Iterator<Item = &[u8]> {
    let args = program.args.split_inclusive(|&b| b == 0);
    args.map(|arg| arg.strip_suffix(b"\0").unwrap_or(arg))
}

fn joined<'p>(parts: impl Iterator<Item = &'p [u8]>) -> Vec<u8> {
    parts.collect::<Vec<_>>().join(&b' ')
}

/// The command line; empty if nothing is known of it.
fn command_line(program: &Program) -> Vec<u8> {
    if program.name.is_empty() {
        return Vec::new();
    }
    joined(
        [&*program.name]
            .into_iter()
            .chain(arguments(program).skip(1)),
    )
}

/// The ancestors of a process. Generation 0 is the process itself.
fn ancestry<'a>(
    ask: &Ask<'a>,
    pid: u32,
    value: impl Fn(u32, &'a Program) -> Option<Value<'a>>,
) -> Option<Value<'a>> {
    let mut ancestors = ask.scope.context.ancestors(program(ask));
    match ask.argument {
        Argument::Generation(0) => value(pid, program(ask)),
        Argument::Generation(generation) => {
            let (pid, program) = ancestors.nth(generation - 1)?;
            value(pid, program)
        }
        _ => {
            let values: Vec<_> = ancestors.filter_map(|(pid, it)| value(pid, it)).collect();
            (!values.is_empty()).then_some(Value::Any(values))
        }
    }
}
