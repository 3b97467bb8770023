//! What a run printed, stream by stream: the last words.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::bounded::newest;
use super::gather::Gathered;
use super::page::{left_out, none};
use super::shown::Shown;
use verdict::facts::output::{Fate, Line, Stream};

/// Bytes of a line.
const MAX_LINE: usize = 1_000;
/// How many streams are shown separately: those with the newest lines.
const MAX_STREAMS: usize = 8;

pub(super) fn streams(run: &Gathered) -> Markup {
    let streams = by_stream(run);
    if streams.is_empty() {
        return none("Nothing was printed, as far as was recorded.");
    }
    let share = run.room.table / streams.len();
    html! {
        @for (name, lines) in &streams {
            @let rows = newest(lines.iter(), share, |(pid, line)| row(run, *pid, line));
            h4 { (Shown::said(name, 80)) }
            (left_out(rows.left_out, "earlier lines", "show"))
            ol.words { (rows) }
        }
    }
}

/// The lines of each stream, in the order in which they were written. The stream with the newest line comes first.
fn by_stream(run: &Gathered) -> Vec<(String, Vec<(u32, &Line)>)> {
    let mut streams: BTreeMap<String, Vec<(u32, &Line)>> = BTreeMap::new();
    for process in run.facts.processes.iter() {
        for line in process.output.lines() {
            let name = match &line.stream {
                Stream::Stdout => "Standard output".to_owned(),
                Stream::Pipe => "Pipes between processes".to_owned(),
                Stream::Stderr => "Standard error".to_owned(),
                log @ Stream::Log(_) => log.to_string(),
            };
            streams.entry(name).or_default().push((process.pid, line));
        }
    }
    let mut streams: Vec<_> = streams.into_iter().collect();
    for (_, lines) in &mut streams {
        lines.sort_by_key(|(_, line)| line.event);
    }
    streams.sort_by_key(|(_, lines)| std::cmp::Reverse(lines.last().map(|(_, line)| line.event)));
    streams.truncate(MAX_STREAMS);
    streams
}

fn row(run: &Gathered, pid: u32, line: &Line) -> Markup {
    html! {
        li.row data-kind="output" data-process=(run.process_name(pid)) {
            span.number { (run.link(line.event)) }
            span.line { (Shown::raw(&line.text, MAX_LINE)) }
            @if line.cut { span.mark { "bytes missing" } }
            @if line.fate != Fate::Written { span.mark { "nobody could read it" } }
        }
    }
}
