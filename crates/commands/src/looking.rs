//! The views of one run: which run, and whether as text or as JSON.

use inspect::views;

use crate::{Capture, Screen, View, print_json};

/// Of which run, and how.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
struct OfRun {
    /// Number of the run [default: the last one]
    #[arg(long, value_name = "N")]
    run: Option<u32>,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// All runs.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub struct Runs {
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl View for Runs {
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
        write(&views::runs(&mut capture.reader), self.json, out)
    }

    fn is_text(&self) -> bool {
        !self.json
    }
}

/// Writes a view as text or as JSON.
pub(crate) fn write(
    view: &impl views::View,
    json: bool,
    out: &mut Screen<'_>,
) -> anyhow::Result<()> {
    if json {
        return print_json(view, out);
    }
    Ok(view.write_text(out.look(), out)?)
}

/// Declares a command for each function that makes a view of a run.
macro_rules! views {
    ($($(#[doc = $doc:literal])+ $name:ident = $of:path;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, clap::Args)]
            #[group(skip)]
            pub struct $name {
                #[command(flatten)]
                of: OfRun,
            }

            impl View for $name {
                fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
                    let index = views::find_run(capture.reader.runs(), self.of.run)?;
                    write(&$of(&mut capture.reader, index), self.of.json, out)
                }

                fn is_text(&self) -> bool {
                    !self.of.json
                }
            }
        )+
    };
}

views! {
    /// The processes.
    Ps = views::ps;
    /// The failed calls.
    Errors = views::errors;
    /// The files.
    Files = views::files;
    /// The names asked for.
    Dns = views::dns;
    /// The connections.
    Net = views::net;
    /// The story.
    Timeline = views::timeline;
}
