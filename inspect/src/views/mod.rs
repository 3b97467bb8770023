//! Ways to look at a run. Each is a structure first, made in one pass over the run's events, and JSON as it is; its text
//! is made from the structure alone.
//!
//! ```text
//! Reader ─► Facts, or Context and counters of its own ─► Ps, Errors, Files, Dns, … ─┬─► write_text: tables
//!                                                                                 └─► Serialize: JSON
//! ```
//!
//! | view | question |
//! |---|---|
//! | [`runs`](runs()) | which lives there were, and how each ended |
//! | [`ps`](ps()) | which processes, who started and who killed them |
//! | [`errors`](errors()) | which calls failed, on what |
//! | [`files`](files()) | what was opened, read and written |
//! | [`streams`] | what bytes went through one of them |
//! | [`dns`](dns()) | which names were asked for, and what came back |
//! | [`net`](net()) | who was connected to, who listened |
//! | [`timeline`](timeline()) | all of it in twenty lines |
//!
//! Memory is bounded whatever a capture holds: of what repeats there are counters, and the newest is kept; what was left
//! out is counted. Text of a capture is [`Text`], which cannot be displayed unescaped, or was escaped by those who made
//! it (`String`: names of processes, addresses, sentences).

use std::io::{self, Read, Seek, Write};

use capture_format::{Event, Losses, NumberedEvent, Reader, Run};
use serde::Serialize;

use crate::info::losses_text;

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

/// Missing parts of a run that are told.
const MAX_MISSING: usize = 8;
/// Names of processes kept beside a counter.
const MAX_NAMES: usize = 4;

/// How text is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Columns of the terminal: longer cells are cut. None: nothing is cut.
    pub width: Option<usize>,
    /// Whether ANSI colours are written.
    pub colours: bool,
}

/// A structure that writes itself as text for people.
pub trait View: Serialize {
    /// Writes it.
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
    pub time_ns: u64,
    /// Nanoseconds since the run's start; negative for what was set up before.
    pub after_start_ns: i64,
}

impl Moment {
    pub(crate) fn new(event: u64, time_ns: u64, run: &Run) -> Self {
        let after = i128::from(time_ns) - i128::from(run.start);
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

/// Which run a view is of, and what of it cannot be seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Head {
    /// Number of the run.
    pub number: u32,
    /// Start: CLOCK_BOOTTIME in nanoseconds.
    pub start_ns: u64,
    /// Events in the file.
    pub events: u64,
    /// What its events do not tell.
    pub losses: Losses,
    /// What of the file is damaged, in words (the first 8).
    pub missing: Vec<String>,
}

impl Head {
    /// Goes through a run.
    pub(crate) fn pass<R: Read + Seek>(
        reader: &mut Reader<R>,
        run_index: usize,
        mut each: impl FnMut(&NumberedEvent, &Run),
    ) -> (Self, Run) {
        let run = reader.runs().get(run_index).cloned().unwrap_or_default();
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

/// The names of processes that did something, the first few.
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

/// The index of the run with this number, else of the last run.
///
/// # Errors
/// No run has the number, or there is none: says which there are.
pub fn find_run(runs: &[Run], number: Option<u32>) -> Result<usize, NoSuchRun> {
    let found = match number {
        Some(number) => runs.iter().position(|run| run.number == number),
        None => runs.len().checked_sub(1),
    };
    found.ok_or_else(|| NoSuchRun {
        wanted: number,
        there: runs.iter().map(|run| run.number).collect(),
    })
}

/// There is no such run.
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
