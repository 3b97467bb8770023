//! A comparison as text for people.

use std::io::{self, Write};

use super::{Diff, Divergence, StepAt};
use crate::views::{Cell, Column, Look, Paint, Table, View};
use events::decode::time::duration;
use events::escape::escaped;

/// How many lines a list has.
const MAX_LISTED: usize = 20;

impl View for Diff {
    fn write_text(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        self.write_runs(look, out)?;
        self.write_divergence(look, out)?;
        self.write_names(look, out)?;
        for (only, label) in self.only_opened.iter().zip(["A", "B"]) {
            if only.is_empty() {
                continue;
            }
            writeln!(out, "\nopened only in {label}:")?;
            for opened in only.iter().take(MAX_LISTED) {
                writeln!(out, "  #{} {}", opened.event, opened.path)?;
            }
            if let Some(more) = only.len().checked_sub(MAX_LISTED).filter(|&more| more > 0) {
                writeln!(out, "  and {more} more: --json has all")?;
            }
        }
        for caveat in &self.caveats {
            writeln!(out, "\nnote: {caveat}")?;
        }
        Ok(())
    }
}

impl Diff {
    fn write_runs(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new([
            Column::left(""),
            Column::path("CAPTURE"),
            Column::right("RUN"),
            Column::right("LIVED"),
            Column::left("END"),
            Column::right("EVENTS"),
            Column::left("CAUSE"),
            Column::text("ABOUT"),
        ]);
        for (it, label) in self.runs.iter().zip(["A", "B"]) {
            let capture = escaped(it.capture.as_bytes());
            table.row([
                Cell::new(label, Paint::Strong),
                capture.into(),
                it.run.number.into(),
                it.lived_ns.map(duration).unwrap_or_default().into(),
                (&it.ended).into(),
                it.run.events.into(),
                it.cause.name().into(),
                (&it.subject).into(),
            ]);
        }
        table.write(look, out)?;
        let [first, second] = &self.runs;
        if self.alike {
            return writeln!(out, "both ended alike: {}", second.sentence);
        }
        writeln!(out, "A: {}", first.sentence)?;
        writeln!(out, "B: {}", second.sentence)
    }

    fn write_divergence(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        let Some(Divergence {
            after,
            first,
            second,
        }) = &self.divergence
        else {
            return writeln!(out, "\nneither did anything that the other did not");
        };
        writeln!(out, "\nfirst divergence:")?;
        let mut table = Table::new([
            Column::left(""),
            Column::right("EVENT"),
            Column::right("TIME"),
            Column::text("WHAT"),
        ]);
        let rows = [("after", after), ("only A", first), ("only B", second)];
        for (label, step) in rows {
            let Some(StepAt { moment, text }) = step else {
                continue;
            };
            table.row([
                label.into(),
                Cell::new(moment.number(), Paint::Dim),
                Cell::new(moment.offset(), Paint::Dim),
                text.into(),
            ]);
        }
        table.write(look, out)
    }

    fn write_names(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        if self.names.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nnames:")?;
        let mut table = Table::new([
            Column::text("NAME"),
            Column::left("IN A"),
            Column::left("IN B"),
            Column::left("EVENTS"),
        ]);
        for name in &self.names {
            let [first, second] = &name.outcomes;
            let cell = |outcome: &Option<String>| match outcome.as_deref() {
                None => Cell::new("not asked for", Paint::Dim),
                Some("resolved") => Cell::new("resolved", Paint::Good),
                Some(outcome) => Cell::new(outcome, Paint::Bad),
            };
            let events = name
                .events
                .iter()
                .flatten()
                .map(|event| format!("#{event}"));
            let events = events.collect::<Vec<_>>().join(" ");
            let events = Cell::new(events, Paint::Dim);
            table.row([(&name.host).into(), cell(first), cell(second), events]);
        }
        table.write(look, out)
    }
}
