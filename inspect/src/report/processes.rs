//! Who started whom, what they executed, and how they ended.

use std::collections::{BTreeMap, HashMap};

use capture_format::ExitStatus;
use maud::{Markup, html};

use super::gather::Gathered;
use super::page::{left_out, none};
use super::shown::Shown;
use crate::decode::Signal;
use crate::facts::Process;

/// Generations that are drawn below each other; deeper ones stand at the last.
const MAX_DEPTH: usize = 12;
/// Bytes of a command line.
const MAX_COMMAND: usize = 400;

/// A process and how deep it stands.
struct Branch<'p> {
    process: &'p Process,
    depth: usize,
}

pub(super) fn processes(run: &Gathered) -> Markup {
    let branches = branches(run);
    if branches.is_empty() {
        return none("No process was recorded.");
    }
    let rows = super::bounded::first(branches.iter(), run.room.table, |branch| row(run, branch));
    html! {
        ul.tree { (rows) }
        (left_out(rows.left_out, "processes", "show"))
    }
}

/// The place of each process in the tree.
pub(super) fn order(run: &Gathered) -> HashMap<u32, usize> {
    let places = branches(run).into_iter().enumerate();
    places
        .map(|(at, branch)| (branch.process.pid, at))
        .collect()
}

/// The tree, parents before their children, children in the order of their pids.
fn branches(run: &Gathered) -> Vec<Branch<'_>> {
    let mut children: BTreeMap<Option<u32>, Vec<&Process>> = BTreeMap::new();
    for process in run.facts.processes.iter() {
        let known = process.parent.filter(|&pid| pid != process.pid);
        let parent = known.filter(|&pid| run.facts.processes.get(pid).is_some());
        children.entry(parent).or_default().push(process);
    }
    children
        .values_mut()
        .for_each(|of| of.sort_by_key(|process| std::cmp::Reverse(process.pid)));
    let mut branches = Vec::new();
    let mut open: Vec<Branch<'_>> = Vec::new();
    let branch = |depth| move |process| Branch { process, depth };
    open.extend(
        children
            .remove(&None)
            .unwrap_or_default()
            .into_iter()
            .map(branch(0)),
    );
    while let Some(next) = open.pop() {
        let below = children.remove(&Some(next.process.pid)).unwrap_or_default();
        open.extend(below.into_iter().map(branch(next.depth + 1)));
        branches.push(next);
    }
    // Ids that were used again can make a ring of parents.
    branches.extend(children.into_values().flatten().map(branch(0)));
    branches
}

fn row(run: &Gathered, Branch { process, depth }: &Branch<'_>) -> Markup {
    let name = run.process_name(process.pid);
    let level = (*depth).min(MAX_DEPTH);
    let exit = process.exit;
    let failed = exit.is_some_and(|exit| exit.status != ExitStatus::Code(0));
    html! {
        li.row.failed[failed] data-depth=(level) data-kind="process" data-process=(name) {
            b { (name) } " " span.pid { (process.pid) }
            @if let Some(exec) = &process.exec {
                " " code { (command(&exec.argv)) } " " (run.link(exec.event))
            }
            span.end {
                @match exit {
                    Some(exit) => { (ended(exit.status)) " " (run.link(exit.event)) },
                    None => "no end recorded",
                }
            }
        }
    }
}

fn command(argv: &[bytes::Bytes]) -> Shown {
    Shown::raw(argv.join(&b' '), MAX_COMMAND)
}

/// `exited 1`, `killed by SIGSEGV, core dumped`.
pub(super) fn ended(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exited {code}"),
        ExitStatus::Signal { signal, core } => {
            let core = if core { ", core dumped" } else { "" };
            format!("killed by {}{core}", Signal(signal))
        }
    }
}
