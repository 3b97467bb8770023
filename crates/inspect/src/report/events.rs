//! The events of a run: those that the verdict cites, failures, and the newest. Between them the page says how many
//! were left out.

use maud::{Markup, html};

use super::gather::{Gathered, Row};
use super::page::table;

/// Either an event, or how many are not listed.
enum Line<'r> {
    Event(&'r Row),
    Gap { from: u64, to: u64 },
}

/// Bytes of markup of a gap.
const GAP: usize = 100;

/// Keeps those listed events that fit: cited events before others, newer ones before older ones. Afterwards it is known
/// which events are listed, so links can be made to them.
pub(super) fn fit(run: &mut Gathered) {
    let mut size = 0;
    for cited in [true, false] {
        let mut out = Vec::new();
        for (&number, row) in run
            .events
            .iter()
            .rev()
            .filter(|(_, row)| row.cited == cited)
        {
            size += event(row).into_string().len() + GAP;
            if size > run.room.events {
                out.push(number);
            }
        }
        for number in out {
            run.events.remove(&number);
        }
    }
}

pub(super) fn events(run: &Gathered) -> Markup {
    html! {
        p.note {
            (run.events.len()) " of " (run.info.events) " events are listed"
            @if (run.events.len() as u64) < run.info.events { ": what the verdict cites, failed calls, and the newest. All of them: " code { "lastword show FILE" } }
            "."
        }
        @for missing in &run.missing { p.note.bad { (missing) } }
        (table("events", &["Event", "Time", "Process", "What happened"], &html! {
            @for line in lines(run) {
                @match line {
                    Line::Event(row) => (event(row)),
                    Line::Gap { from, to } => (gap(from, to)),
                }
            }
        }))
    }
}

fn lines(run: &Gathered) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut next = run.info.first_event.unwrap_or(1);
    for (&number, row) in &run.events {
        if number > next {
            let to = number - 1;
            lines.push(Line::Gap { from: next, to });
        }
        lines.push(Line::Event(row));
        next = number.saturating_add(1);
    }
    lines
}

fn gap(from: u64, to: u64) -> Markup {
    let count = to - from + 1;
    html! {
        tr.gap { td colspan="4" {
            "#" (from) @if count > 1 { "–#" (to) } ": " (count) " event" @if count > 1 { "s" } " not listed"
        } }
    }
}

fn event(row: &Row) -> Markup {
    html! {
        tr.row.cited[row.cited].failed[row.failed] id={ "event-" (row.number) } tabindex="-1" data-kind=(row.group.name()) data-process=(row.process) {
            td.number { a href={ "#event-" (row.number) } { "#" (row.number) } }
            td.time { (row.time) }
            td.who { (row.process) " " span.pid { (row.pid) } }
            td.what { (row.what) @if row.cited { " " span.mark { "evidence" } } }
        }
    }
}
