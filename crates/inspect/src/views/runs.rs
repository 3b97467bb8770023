//! The runs of a capture: when, for how long, how each ended and why.

use std::io::{self, Read, Seek, Write};

use capture_format::{ExitStatus, Reader};
use serde::Serialize;

use super::{Cell, Column, Head, Look, Paint, Table, View, count};
use events::decode::time::{duration, time_of_day};
use verdict::facts::Facts;
use verdict::losses::missing_runs;
use verdict::rules::{Case, Cause, how, judge};

/// The runs of a capture, the first one first.
#[derive(Clone, Debug, Serialize)]
pub struct Runs {
    /// One line for each run.
    pub runs: Vec<RunLine>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct RunLine {
    /// The number, events and losses of the run.
    #[serde(flatten)]
    pub head: Head,
    /// Start as date and time: UTC, RFC 3339.
    pub started: Option<String>,
    /// How long it lived, in nanoseconds; `None` while it lives, or if nobody saw its end.
    pub lived_ns: Option<u64>,
    /// How the first process ended, if seen.
    pub status: Option<ExitStatus>,
    /// `exited 1`, `was killed by SIGKILL (…)`, `alive`, `nobody saw how it ended`.
    pub ended: String,
    /// Number of its first event; `None` if it has no events.
    pub first_event: Option<u64>,
    /// What ended the run, according to the verdict.
    pub cause: Cause,
    /// The verdict, escaped.
    pub sentence: String,
}

/// Makes the list; each run is read in one pass.
pub fn runs<R: Read + Seek>(reader: &mut Reader<R>) -> Runs {
    let header = reader.header().clone();
    let lines = (reader.indexes()).map(|index| {
        let mut facts = reader.run(index).map(Facts::new);
        let mut first_event = None;
        let (head, run) = Head::pass(reader, index, |event, _| {
            first_event.get_or_insert(event.number);
            if let Some(facts) = &mut facts {
                facts.observe(event.number, &event.event);
            }
        });
        let facts = facts.unwrap_or_else(|| Facts::new(&run));
        let verdict = judge(&Case::new(&facts, &run, &header));
        let ended = match (run.status, run.end) {
            (Some(status), _) => how(status),
            _ if run.start_error.is_some() => "was not started".to_owned(),
            (None, Some(_)) => "nobody saw how it ended".to_owned(),
            (None, None) => "alive".to_owned(),
        };
        RunLine {
            head,
            started: time_of_day(run.start, &header.host),
            lived_ns: run.end.and_then(|end| end.checked_since(run.start)),
            status: run.status,
            ended,
            first_event,
            cause: verdict.cause,
            sentence: verdict.sentence,
        }
    });
    Runs {
        runs: lines.collect(),
    }
}

impl View for Runs {
    fn write_text(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        if self.runs.is_empty() {
            return writeln!(out, "the capture holds no run");
        }
        let mut table = Table::new([
            Column::right("RUN"),
            Column::left("STARTED"),
            Column::right("LIVED"),
            Column::left("END"),
            Column::right("EVENTS"),
            Column::left("FROM"),
            Column::right("LOST"),
            Column::right("OVERWRITTEN"),
            Column::left("CAUSE"),
        ]);
        for run in &self.runs {
            let good = run.status == Some(ExitStatus::Code(0)) || run.ended == "alive";
            let paint = if good { Paint::Good } else { Paint::Bad };
            let started = run.started.as_deref().unwrap_or_default();
            table.row([
                run.head.number.into(),
                Cell::new(started.get(..19).unwrap_or(started), Paint::Dim),
                run.lived_ns.map(duration).unwrap_or_default().into(),
                Cell::new(&run.ended, paint),
                run.head.events.into(),
                Cell::new(
                    run.first_event
                        .map(|event| format!("#{event}"))
                        .unwrap_or_default(),
                    Paint::Dim,
                ),
                run.head.losses.lost.into(),
                run.head.losses.overwritten.into(),
                run.cause.name().into(),
            ]);
        }
        table.write(look, out)?;
        for alike in self.runs.chunk_by(|a, b| a.sentence == b.sentence) {
            let numbers: Vec<_> = alike
                .iter()
                .map(|run| run.head.number.to_string())
                .collect();
            let plural = if numbers.len() == 1 { "" } else { "s" };
            writeln!(
                out,
                "run{plural} {}: {}",
                numbers.join(", "),
                alike[0].sentence
            )?;
        }
        for line in missing_runs(self.runs.iter().map(|run| run.head.number)) {
            writeln!(out, "{line}")?;
        }
        for run in &self.runs {
            for missing in &run.head.missing {
                writeln!(out, "run {}: {missing}", run.head.number)?;
            }
        }
        let lost = self.runs.iter().filter(|run| run.head.events == 0).count();
        if lost > 0 {
            writeln!(out, "{} without events", count(lost as u64, "run"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::text_of;
    use fixtures::{INIT, Script, capture, nginx};

    #[test]
    fn runs_that_ended_alike_share_their_sentence() {
        let mut killed = Script::new(&["nginx"]);
        killed.wait(5000).exit_status(INIT, 9);
        let text = text_of(&runs(&mut capture(&[nginx(), nginx(), killed])));
        insta::assert_snapshot!(text);
    }
}
