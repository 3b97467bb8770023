//! What a probe or hook did in the container: the runtime executed its command beside the application.

use capture_format::ExitStatus;
use serde_json::Value;

use super::case::how;
use super::{Case, Evidence};
use crate::escape::escaped_to;
use crate::facts::Process;
use crate::facts::naming::{basename, names};

/// The last time the runtime executed the probe's or hook's command in the container and it failed: the call that failed, what it
/// printed, how it ended.
pub(super) fn visit(case: &Case<'_>, key: &[&str], said: &str) -> Vec<Evidence> {
    let command = command(case, key);
    let is_it = |process: &&Process| {
        let argv = process.exec.as_ref().map(|exec| &exec.argv);
        let same = argv.zip(command.as_ref()).is_some_and(|(argv, command)| {
            argv.len() == command.len() && argv.iter().zip(command).all(|(a, b)| a == b.as_bytes())
        });
        let prints = || {
            let mut lines = process.output.lines();
            lines.any(|line| !line.text.trim().is_empty() && said.contains(line.text.trim()))
        };
        case.facts.is_visitor(process.pid) && (same || (command.is_none() && prints()))
    };
    let visitors = case.facts.processes.iter().filter(is_it);
    let failed = visitors.filter(|process| {
        let exit = process.exit.map(|exit| exit.status);
        exit.is_some_and(|status| status != ExitStatus::Code(0))
    });
    let Some(process) = failed.max_by_key(|process| process.exit.map(|exit| exit.event)) else {
        return Vec::new();
    };
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
            format!("{}: {path}: {}", process.name(), failure.errno.text()),
        )
    }));
    evidence.extend(process.output.lines().last().map(|line| line.evidence()));
    evidence.extend(process.exit.map(|exit| {
        let how = how(exit.status);
        Evidence::new(
            exit.event,
            format!("{} (pid {}) {how}", process.name(), process.pid),
        )
    }));
    evidence
}

/// The command of a probe or hook, as the pod's specification has it.
fn command(case: &Case<'_>, key: &[&str]) -> Option<Vec<String>> {
    let pod = &case.header.kubernetes.as_ref()?.pod;
    let containers = ["containers", "initContainers"]
        .iter()
        .filter_map(|kind| pod["spec"][kind].as_array());
    let mut containers = containers.flatten();
    let container = containers.find(|other| other["name"] == *case.header.container.name)?;
    let of_key = key.iter().fold(container, |value, key| &value[key]);
    let command = of_key["exec"]["command"].as_array()?;
    command
        .iter()
        .map(Value::as_str)
        .map(|part| part.map(str::to_owned))
        .collect()
}
