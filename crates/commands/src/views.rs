//! Views of a whole capture: its verdict, and what it says about itself.

use inspect::info;
use verdict::explain;

use crate::{Capture, Screen, View, print_json};

mod show;

pub(crate) use show::Show;

/// Why the container died.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Explain {
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
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
