//! Views: each answers one question about a run.
//!
//! A view is a structure that is made in one pass over the run's events. Serialised, it is the view's JSON; its text
//! is made from the structure alone.
//!
//! ```text
//! Reader ─► Facts, or Context and counters of its own ─► Ps, Errors, Files, Dns, … ─┬─► write_text: tables
//!                                                                                 └─► Serialize: JSON
//! ```
//!
//! | view | question |
//! |---|---|
//! | [`runs`](runs()) | which runs there were, and how each ended |
//! | [`ps`](ps()) | which processes, who started and who killed them |
//! | [`errors`](errors()) | which calls failed, on what |
//! | [`files`](files()) | what was opened, read and written |
//! | [`streams`] | which bytes went through a file or a standard stream |
//! | [`dns`](dns()) | which names were asked for, and what came back |
//! | [`net`](net()) | which addresses were connected to, which processes listened |
//! | [`timeline`](timeline()) | all of it in twenty lines |
//!
//! Memory is bounded whatever a capture holds: what repeats is counted, the newest is kept, and what was left out is
//! counted, too. Text of a capture is a [`Text`], which cannot be displayed unescaped; or it was escaped where it was
//! made (`String`: names of processes, addresses, sentences).

use std::io::{self, Read, Seek, Write};

use capture_format::{BootTime, Event, Losses, NumberedEvent, Reader, Run, RunIndex};
use serde::Serialize;

use verdict::losses::losses_text;

pub mod dns;
pub mod errors;
pub mod files;
pub mod net;
pub mod ps;
pub mod runs;
pub mod streams;
mod subject;
mod table;
mod tally;
mod text;
pub mod timeline;

pub use dns::dns;
pub use errors::errors;
pub use files::files;
pub use net::net;
pub use ps::ps;
pub use runs::runs;
pub use subject::Subject;
pub use text::Text;
pub use timeline::timeline;

pub(crate) use table::{Cell, Column, Paint, Table};
pub(crate) use tally::Tally;

/// How many missing parts of a run are reported.
const MAX_MISSING: usize = 8;
/// How many names of processes are kept with a counter.
const MAX_NAMES: usize = 4;

/// How text is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Columns of the terminal: longer cells are cut. `None`: nothing is cut.
    pub width: Option<usize>,
    /// Whether ANSI colours are written.
    pub colours: bool,
}

/// A structure that writes itself as text for people.
pub trait View: Serialize {
    /// Writes the view as text.
    ///
    /// # Errors
    /// When `out` fails.
    fn write_text(&self, look: Look, out: &mut dyn Write) -> io::Result<()>;
}

/// When something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Number of the event.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time_ns: BootTime,
    /// Nanoseconds since the run's start; negative for what was set up before it.
    pub after_start_ns: i64,
}

impl Moment {
    pub(crate) fn new(event: u64, time_ns: BootTime, run: &Run) -> Self {
        let after = time_ns.offset_from(run.start);
        Self {
            event,
            time_ns,
            after_start_ns: after.clamp(i64::MIN.into(), i64::MAX.into()) as i64,
        }
    }

    pub(crate) fn of(number: u64, event: &Event, run: &Run) -> Self {
        Self::new(number, event.time, run)
    }

    /// `+0.013764`: seconds since the run's start.
    #[must_use]
    pub fn offset(&self) -> String {
        let sign = if self.after_start_ns < 0 { '-' } else { '+' };
        let since = self.after_start_ns.unsigned_abs();
        format!(
            "{sign}{}.{:06}",
            since / 1_000_000_000,
            since / 1_000 % 1_000_000
        )
    }

    /// `#107`.
    #[must_use]
    pub fn number(&self) -> String {
        format!("#{}", self.event)
    }
}

/// The run that a view shows, and what is missing of the run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Head {
    /// Number of the run.
    pub number: u32,
    /// Start: CLOCK_BOOTTIME in nanoseconds.
    pub start_ns: BootTime,
    /// Events in the file.
    pub events: u64,
    /// What is missing in its events.
    pub losses: Losses,
    /// Which parts of the file are damaged, in words (the first 8).
    pub missing: Vec<String>,
}

impl Head {
    /// Passes every event of a run to `each`.
    pub(crate) fn pass<R: Read + Seek>(
        reader: &mut Reader<R>,
        run_index: RunIndex,
        mut each: impl FnMut(&NumberedEvent, &Run),
    ) -> (Self, Run) {
        let run = reader.run(run_index).cloned().unwrap_or_default();
        let mut head = Self {
            number: run.number,
            start_ns: run.start,
            losses: run.losses,
            ..Self::default()
        };
        for item in reader.events(run_index) {
            match item {
                Ok(event) => {
                    head.events += 1;
                    each(&event, &run);
                }
                Err(missing) if head.missing.len() < MAX_MISSING => {
                    head.missing.push(missing.to_string());
                }
                Err(_) => {}
            }
        }
        (head, run)
    }

    /// `run 2: 134 events; 0 lost (never recorded), 0 overwritten (displaced by newer events)`.
    pub(crate) fn write(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        let losses = losses_text(&self.losses);
        let line = format!(
            "run {}: {}; {losses}",
            self.number,
            count(self.events, "event")
        );
        writeln!(out, "{}", table::painted(&line, Paint::Dim, look))?;
        for missing in &self.missing {
            writeln!(out, "{}", table::painted(missing, Paint::Bad, look))?;
        }
        Ok(())
    }
}

/// Names of processes, the first few.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Names(Vec<String>);

impl Names {
    pub(crate) fn add(&mut self, label: &str) {
        if self.0.len() < MAX_NAMES && !label.is_empty() && !self.0.iter().any(|it| it == label) {
            self.0.push(label.to_owned());
        }
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// `1 event`, `37 events`.
pub(crate) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The index of the run with this number; without a number, of the last run.
///
/// # Errors
/// If no run has the number, or there is no run. The error says which runs there are.
pub fn find_run(runs: &[Run], number: Option<u32>) -> Result<RunIndex, NoSuchRun> {
    let found = match number {
        Some(number) => runs.iter().position(|run| run.number == number),
        None => runs.len().checked_sub(1),
    };
    found.map(RunIndex).ok_or_else(|| NoSuchRun {
        wanted: number,
        there: runs.iter().map(|run| run.number).collect(),
    })
}

/// The capture does not have this run.
#[derive(Debug)]
pub struct NoSuchRun {
    wanted: Option<u32>,
    there: Vec<u32>,
}

impl std::fmt::Display for NoSuchRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let there: Vec<_> = self.there.iter().map(u32::to_string).collect();
        match self.wanted {
            Some(wanted) if !there.is_empty() => {
                write!(
                    f,
                    "there is no run {wanted}; there are: {}",
                    there.join(", ")
                )
            }
            _ => f.write_str("the capture holds no run; `lastword info` says what it holds"),
        }
    }
}

impl std::error::Error for NoSuchRun {}

#[cfg(test)]
pub(crate) fn text_of(view: &impl View) -> String {
    let mut out = Vec::new();
    view.write_text(Look::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{Side, diff};
    use capture_format::{EventKind as K, SignalOrigin};
    use events::escape::is_harmful;
    use fixtures::{INIT, Script, capture, dns as message, unix};

    /// What a hostile container writes wherever it can: it clears the screen, begins a line, changes the direction of
    /// text.
    const EVIL: &str = "a\x1b[2J\n\r\x07#1 b\u{9b}2J\u{202e}c\u{2028}";

    fn hostile() -> Script {
        let mut s = Script::new(&[EVIL, EVIL]);
        s.call(INIT, K::CHDIR, 0, [0; 3], format!("/{EVIL}"), "");
        s.open(INIT, EVIL, 3)
            .read(INIT, 3, EVIL, EVIL)
            .write(INIT, 3, EVIL);
        s.open(INIT, EVIL, -2)
            .stat(INIT, EVIL, 13)
            .write(INIT, 2, EVIL);
        s.call(INIT, K::WRITE, i64::MAX, [1, 0, 0], "", EVIL);
        s.call(INIT, K::READ, 9, [77, 0, 9], EVIL, EVIL);
        s.call(INIT, K::SOCKET, 4, [1, 1, 0], "", "");
        s.connect(INIT, 4, &unix(EVIL), -111);
        s.call(INIT, K::BIND, -98, [4, 0, 0], unix(EVIL), "");
        s.read(INIT, 3, "resolv.conf", &format!("search {EVIL}\n"));
        s.resolver_socket(INIT, 5, [10, 0, 0, 1])
            .ask(INIT, 5, 7, &EVIL[..20]);
        s.reply(
            INIT,
            5,
            [10, 0, 0, 1],
            message::response(7, &EVIL[..20], 1, 3),
        );
        s.fork(INIT, 200)
            .signal(200, 9, 0, (7, EVIL), SignalOrigin::Outside);
        s.call(200, K::EXIT, 9, [0; 3], EVIL, "");
        s.call(300, K::EXIT, 0, [0; 3], EVIL, "").exit(INIT, 1);
        s.run.start_error = Some(EVIL.to_owned());
        s
    }

    fn written(view: &impl View) -> String {
        let mut json = Vec::new();
        crate::json::write_pretty(view, &mut json).unwrap();
        text_of(view) + &String::from_utf8(json).unwrap()
    }

    #[test]
    fn nothing_a_container_says_reaches_a_terminal_as_it_is() {
        let mut reader = capture(&[hostile()]);
        let side = Side::of(EVIL, &mut reader, RunIndex(0));
        let other = Side::of(EVIL, &mut capture(&[Script::new(&["x"])]), RunIndex(0));
        let mut views = vec![
            written(&runs(&mut reader)),
            written(&ps(&mut reader, RunIndex(0))),
            written(&errors(&mut reader, RunIndex(0))),
            written(&files(&mut reader, RunIndex(0))),
            written(&dns(&mut reader, RunIndex(0))),
            written(&net(&mut reader, RunIndex(0))),
            written(&timeline(&mut reader, RunIndex(0))),
            written(&diff(&side, &other)),
            written(&diff(&other, &side)),
        ];
        for format in [
            streams::Format::Text,
            streams::Format::Hex,
            streams::Format::Json,
        ] {
            let mut out = Vec::new();
            let mut printer = streams::Printer::new(format, Look::default(), &mut out);
            for what in ["stdout", "stderr", "3", "77", "4"] {
                let what = what.parse().unwrap();
                streams::streams(&mut reader, RunIndex(0), &what, None, &mut |it| {
                    printer.piece(&it)
                })
                .unwrap();
            }
            printer.end().unwrap();
            views.push(String::from_utf8(out).unwrap());
        }
        for text in &views {
            let harmful = text.chars().find(|&c| c != '\n' && is_harmful(c));
            assert_eq!(harmful, None, "{text}");
            // A line that the container wrote begins with a mark or is inside a table.
            assert!(!text.lines().any(|line| line.starts_with("#1 b")), "{text}");
        }
        // The text occurred, so it was escaped.
        let told = |text: &&String| text.contains("x1b[2J") || text.contains("u001b[2J");
        assert!(views.iter().filter(told).count() >= views.len() - 2);
    }

    #[test]
    fn a_run_is_found_by_its_number_and_others_are_named() {
        let runs = [4, 7].map(|number| Run {
            number,
            ..Run::default()
        });
        assert_eq!(find_run(&runs, None).unwrap(), RunIndex(1));
        assert_eq!(find_run(&runs, Some(4)).unwrap(), RunIndex(0));
        let error = find_run(&runs, Some(5)).unwrap_err().to_string();
        assert_eq!(error, "there is no run 5; there are: 4, 7");
        assert!(
            find_run(&[], None)
                .unwrap_err()
                .to_string()
                .contains("no run")
        );
    }
}
