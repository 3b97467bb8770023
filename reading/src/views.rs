//! What can be seen of a capture, wherever it came from.

use inspect::{explain, info, show};

use crate::{Capture, Screen, View, print_json};

/// Why the container died.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Explain {
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// The events.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub struct Show {
    /// One JSON object a line; its fields are documented in docs/json.md
    #[arg(long)]
    json: bool,
    /// Print the time of day (UTC) instead of the time since the run's start
    #[arg(long, conflicts_with = "json")]
    time_of_day: bool,
}

/// What the capture says about itself.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub struct Info {
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl View for Explain {
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
        let explanation = explain::explain(&mut capture.reader);
        if self.json {
            print_json(&explanation, out)
        } else {
            Ok(explanation.write_text(out)?)
        }
    }

    fn is_text(&self) -> bool {
        !self.json
    }
}

impl View for Show {
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
        let Self { json, time_of_day } = *self;
        let options = show::Options {
            json,
            time_of_day,
            ..show::Options::default()
        };
        Ok(show::show(&mut capture.reader, out, options)?)
    }

    fn is_text(&self) -> bool {
        !self.json
    }
}

impl View for Info {
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
        let info = info::Info::of(&mut capture.reader);
        if self.json {
            print_json(&info, out)
        } else {
            Ok(info.write_text(out)?)
        }
    }

    fn is_text(&self) -> bool {
        !self.json
    }
}
