//! What a probe or hook did in the container. This is no rule, but evidence for the rule `kubelet`.
//!
//! The runtime executes the command of a probe or hook beside the application. It is recognised by its arguments, as
//! the pod's specification has them. Without a command in the specification, it is recognised by output that the
//! kubelet's event repeats.
//!
//! This is wrong if somebody executed exactly the same command by hand, as with `kubectl exec`.

use capture_format::ExitStatus;
use serde_json::Value;

use super::case::how;
use super::{Case, Evidence};
use crate::entity::names;
use crate::facts::Process;
use events::basename;
use events::escape::escaped_to;

/// The last failed execution of a probe's or hook's command in the container: the call that failed, what the command
/// printed, how it ended.
pub(super) fn visit(case: &Case<'_>, key: &[&str], said: &str) -> Vec<Evidence> {
    let executions = match command(case, key) {
        Some(command) => executions(case, &command),
        None => executed(case, |process| {
            let mut lines = process.output.lines();
            lines.any(|line| !line.text.trim().is_empty() && said.contains(line.text.trim()))
        }),
    };
    let last = executions.into_iter().rev().find(|process| failed(process));
    last.map_or_else(Vec::new, |process| evidence(case, process, said))
}

/// What the command of a probe or hook printed when it failed last.
pub(super) fn printed(case: &Case<'_>, key: &[&str]) -> Option<String> {
    let executions = executions(case, &command(case, key)?);
    let last = executions
        .into_iter()
        .rev()
        .find(|process| failed(process))?;
    let lines = last.output.lines().map(|line| line.text.trim_end());
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// The processes that executed a command besides the application, in the order in which they ended; processes that did
/// not end come last.
pub(super) fn executions<'a>(case: &Case<'a>, command: &[&str]) -> Vec<&'a Process> {
    executed(case, |process| {
        let argv = process.exec.as_ref().map(|exec| &exec.argv);
        argv.is_some_and(|argv| {
            argv.len() == command.len() && argv.iter().zip(command).all(|(a, b)| a == b.as_bytes())
        })
    })
}

fn executed<'a>(case: &Case<'a>, is_it: impl Fn(&Process) -> bool) -> Vec<&'a Process> {
    let itself = |process: &Process| {
        let exec = process.exec.as_ref().map(|exec| exec.event);
        // A forked process has its parent's arguments until it executes something itself.
        let forked = process.start.map(|start| start.event);
        exec.is_some_and(|exec| forked.is_none_or(|forked| forked < exec))
    };
    let processes = case.facts.processes.iter();
    let mut executions: Vec<&Process> = processes
        .filter(|process| case.facts.is_visitor(process.pid) && itself(process) && is_it(process))
        .collect();
    executions.sort_by_key(|process| process.exit.map_or(u64::MAX, |exit| exit.event));
    executions
}

/// Whether a process ended with a failure.
pub(super) fn failed(process: &Process) -> bool {
    let status = process.exit.map(|exit| exit.status);
    status.is_some_and(|status| status != ExitStatus::Code(0))
}

fn evidence(case: &Case<'_>, process: &Process, said: &str) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let failures = case.facts.visitors_failures.iter().rev();
    let mut failures = failures.filter(|failure| failure.pid == process.pid);
    let named = failures.find(|failure| {
        let path = String::from_utf8_lossy(&failure.name);
        let name = String::from_utf8_lossy(basename(&failure.name));
        !name.is_empty() && (names(said, &path) || names(said, &name))
    });
    evidence.extend(named.map(|failure| {
        let path = escaped_to(&failure.path, 300);
        Evidence::new(
            failure.event,
            failure.time,
            format!("{}: {path}: {}", process.name(), failure.errno.text()),
        )
    }));
    evidence.extend(process.output.lines().last().map(|line| line.evidence()));
    evidence.extend(process.exit.map(|exit| {
        let how = how(exit.status);
        Evidence::new(
            exit.event,
            exit.time,
            format!("{} (pid {}) {how}", process.name(), process.pid),
        )
    }));
    evidence
}

/// What the pod's specification says about the container under a path of keys: `["livenessProbe"]`.
pub(super) fn specified<'a>(case: &Case<'a>, key: &[&str]) -> Option<&'a Value> {
    let known = case.header.kubernetes.as_ref()?;
    known.container(&case.header.container.name)?.field(key)
}

/// The command of a probe or hook, from the pod's specification.
pub(super) fn command<'a>(case: &Case<'a>, key: &[&str]) -> Option<Vec<&'a str>> {
    let command = specified(case, key)?["exec"]["command"].as_array()?;
    command.iter().map(Value::as_str).collect()
}
