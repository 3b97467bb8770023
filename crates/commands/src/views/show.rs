//! `show`: prints events.

use inspect::select::{Moment, Selection};
use inspect::show;

use crate::selecting::Select;
use crate::{Capture, Screen, View};

/// The events.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Show {
    #[command(flatten)]
    select: Select,
    /// Only events from this time on: 1.5s or 20ms since the run's start, -2s before its end, 23:36:04 (UTC) or 2026-11-20T23:36:04Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<Moment>,
    /// Only events up to this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<Moment>,
    /// One JSON object a line; its fields are documented in docs/json.md
    #[arg(long)]
    json: bool,
    /// Print the time of day (UTC) instead of the time since the run's start
    #[arg(long, conflicts_with = "json")]
    time_of_day: bool,
}

impl View for Show {
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
        let select = Selection {
            from: self.from,
            to: self.to,
            ..self.select.of(capture)?
        };
        let is_all = select.is_all();
        let options = show::Options {
            json: self.json,
            time_of_day: self.time_of_day,
            select,
            ..show::Options::default()
        };
        let shown = show::show(&mut capture.reader, out, &options)?;
        if shown == 0 && !is_all {
            crate::note(format_args!(
                "{}: no event is what was asked for",
                capture.name
            ));
        }
        Ok(())
    }

    fn is_text(&self) -> bool {
        !self.json
    }
}
