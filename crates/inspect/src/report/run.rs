//! The section of one run.

use maud::{Markup, html};

use super::gather::Gathered;
use super::overview::ended;
use super::shown::Shown;
use super::timeline::timeline;
use super::{about, events, failures, files, network, processes, streams};
use ::events::decode::time::duration;

/// How many characters the name of a process has.
const MAX_NAME: usize = 64;

impl Gathered {
    /// The name of a process, for people.
    pub(super) fn process_name(&self, pid: u32) -> Shown {
        let process = self.facts.processes.get(pid);
        let name = process.map(|process| process.name()).unwrap_or_default();
        Shown::said(&name, MAX_NAME)
    }

    /// The number of an event. It is a link if the event is listed.
    pub(super) fn link(&self, event: u64) -> Markup {
        html! {
            @if self.events.contains_key(&event) { a.event href={ "#event-" (event) } { "#" (event) } }
            @else { span.event title="not listed in this page" { "#" (event) } }
        }
    }
}

/// A part of a run: its name in links, its heading, and its content.
type Part = (&'static str, &'static str, Markup);

/// Which run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Only,
    Last,
    Earlier,
}

pub(super) fn article(run: &Gathered, place: Place) -> Markup {
    let number = run.info.run.number;
    let lived = run
        .info
        .run
        .end
        .and_then(|end| end.checked_since(run.info.run.start));
    html! {
        details.run id={ "run-" (number) } open[place != Place::Earlier] {
            summary {
                h2 { "Run " (number) @if place == Place::Last { span.soft { " · the last" } } }
                span.soft {
                    (ended(&run.info.run))
                    @if let Some(lived) = lived { " after " (duration(lived)) }
                    ", " (run.info.events) " events"
                }
            }
            (about::end(&run.info))
            @for (name, heading, content) in parts(run) {
                section.part id={ "run-" (number) "-" (name) } aria-labelledby={ "run-" (number) "-" (name) "-heading" } {
                    h3 id={ "run-" (number) "-" (name) "-heading" } { (heading) }
                    (content)
                }
            }
        }
    }
}

fn parts(run: &Gathered) -> [Part; 8] {
    [
        ("timeline", "Timeline", timeline(run)),
        ("output", "Last words", streams::streams(run)),
        ("processes", "Processes", processes::processes(run)),
        ("failures", "Failed calls", failures::failures(run)),
        ("dns", "DNS", network::dns(run)),
        ("connections", "Connections", network::connections(run)),
        ("files", "Files", files::files(run)),
        ("events", "Events", events::events(run)),
    ]
}
