//! Failed calls of a run, by call, path and error: the same call failing again is one line.

use std::collections::HashMap;

use maud::{Markup, html};

use super::bounded::newest;
use super::gather::Gathered;
use super::page::{left_out, none, table};
use super::shown::Shown;
use crate::facts::Failure;

/// Bytes of a path.
const MAX_PATH: usize = 300;

/// Failures that differ only in when they happened.
struct Group<'f> {
    last: &'f Failure,
    first: u64,
    count: u64,
}

pub(super) fn failures(run: &Gathered) -> Markup {
    let groups = groups(run);
    if groups.is_empty() {
        return none(
            "No call of the application failed, as far as was recorded; connections have a table of their own.",
        );
    }
    let rows = newest(groups.iter(), run.room.table, |group| row(run, group));
    let total = run.facts.failures.total();
    html! {
        p.note { "Connections have a table of their own." }
        @if total > groups.iter().map(|group| group.count).sum() {
            p.note { (total) " calls failed; of most of them only the newest are kept." }
        }
        (table("failures", &["Event", "Process", "Call", "Path", "Error", "Times"], &html! { (rows) }))
        (left_out(rows.left_out, "failed calls", "show"))
    }
}

fn groups(run: &Gathered) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known = HashMap::new();
    for failure in run.facts.failures.iter() {
        let key = (failure.pid, failure.kind, failure.errno, &failure.path);
        let at = *known.entry(key).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => (group.last, group.count) = (failure, group.count + 1),
            None => groups.push(Group {
                last: failure,
                first: failure.event,
                count: 1,
            }),
        }
    }
    groups.sort_by_key(|group| group.last.event);
    groups
}

fn row(run: &Gathered, group: &Group<'_>) -> Markup {
    let failure = group.last;
    let process = run.process_name(failure.pid);
    html! {
        tr.row.failed data-kind="file" data-process=(process) {
            td.number { (run.link(failure.event)) }
            td.who { (process) " " span.pid { (failure.pid) } }
            td { code { (failure.kind.name().unwrap_or("call")) } }
            td.what { (Shown::raw(&failure.path, MAX_PATH)) }
            td { code { (failure.errno.to_string()) } " " span.soft { (failure.errno.text()) }
                @if failure.made_good { span.soft { "; a later open succeeded" } } }
            td.count { (group.count) @if group.count > 1 { span.soft { " from " (run.link(group.first)) } } }
        }
    }
}
