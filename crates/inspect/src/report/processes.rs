//! The processes: who started whom, what they executed, how they ended, and who killed them.

use std::collections::HashMap;

use capture_format::ExitStatus;
use maud::{Markup, html};

use super::bounded::first;
use super::gather::Gathered;
use super::page::{left_out, none};
use super::shown::Shown;
use crate::views::Text;
use crate::views::ps::{Killer, ProcessLine};
use events::decode::Signal;

/// How many generations are indented; deeper ones are drawn like the last of these.
const MAX_DEPTH: usize = 12;
/// How many characters a name has, and a command line.
const MAX_NAME: usize = 64;
const MAX_COMMAND: usize = 400;

pub(super) fn processes(run: &Gathered) -> Markup {
    let ps = &run.views.ps;
    if ps.processes.is_empty() {
        return none("No process was recorded.");
    }
    let rows = first(ps.processes.iter(), run.room.table, |process| {
        row(run, process)
    });
    html! {
        ul.tree { (rows) }
        (left_out(rows.left_out + ps.left_out as usize, "processes", "ps"))
    }
}

/// The position of each process in the tree.
pub(super) fn order(run: &Gathered) -> HashMap<u32, usize> {
    let places = run.views.ps.processes.iter().enumerate();
    places.map(|(at, process)| (process.pid, at)).collect()
}

fn row(run: &Gathered, process: &ProcessLine) -> Markup {
    let ProcessLine {
        pid,
        parent: _,
        depth,
        name,
        visitor,
        start: _,
        exec,
        exe: _,
        argv,
        end,
        status,
        killed_by,
        threads: _,
    } = process;
    let name = Shown::said(name, MAX_NAME);
    let failed = status.is_some_and(|status| status != ExitStatus::Code(0));
    html! {
        li.row.failed[failed] data-depth=((*depth).min(MAX_DEPTH)) data-kind="process" data-process=(name) {
            b { (name) } " " span.pid { (pid) }
            @if *visitor { span.mark { "not of the application" } }
            @if !argv.is_empty() { " " code { (command(argv)) } }
            @if let Some(exec) = exec { " " (run.link(exec.event)) }
            span.end {
                @match status {
                    Some(status) => (ended(*status)),
                    None => "no end recorded",
                }
                @if let Some(end) = end { " " (run.link(end.event)) }
                @if let Some(Killer { event, by }) = killed_by { " by " (Shown::said(by, MAX_NAME)) " " (run.link(*event)) }
                @if let Some(doing) = process.doing() { "; " (Shown::said(&doing, MAX_COMMAND)) }
            }
        }
    }
}

fn command(argv: &[Text]) -> Shown {
    let words: Vec<String> = argv.iter().map(Text::to_string).collect();
    Shown::said(&words.join(" "), MAX_COMMAND)
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
