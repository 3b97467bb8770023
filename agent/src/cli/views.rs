//! What can be seen of a capture, wherever it came from.

use std::{
    io::{Read, Seek, Write},
    path::Path,
    process::ExitCode,
};

use capture_format::Reader;
use inspect::{explain, info, show};

/// One way to look at a capture.
pub(crate) trait View {
    /// Writes it.
    ///
    /// # Errors
    /// When `out` fails.
    fn print<R: Read + Seek>(
        &self,
        reader: &mut Reader<R>,
        out: &mut impl Write,
    ) -> anyhow::Result<()>;
}

/// Why the container died.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct Explain {
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// The events.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Show {
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
pub(crate) struct Info {
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl View for Explain {
    fn print<R: Read + Seek>(
        &self,
        reader: &mut Reader<R>,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let explanation = explain::explain(reader);
        if self.json {
            print_json(&explanation, out)
        } else {
            Ok(explanation.write_text(out)?)
        }
    }
}

impl View for Show {
    fn print<R: Read + Seek>(
        &self,
        reader: &mut Reader<R>,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let Self { json, time_of_day } = *self;
        let options = show::Options {
            json,
            time_of_day,
            ..show::Options::default()
        };
        Ok(show::show(reader, out, options)?)
    }
}

impl View for Info {
    fn print<R: Read + Seek>(
        &self,
        reader: &mut Reader<R>,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let info = info::Info::of(reader);
        if self.json {
            print_json(&info, out)
        } else {
            Ok(info.write_text(out)?)
        }
    }
}

/// Opens a file and shows it.
pub(crate) fn of_file(
    path: &Path,
    view: &impl View,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let mut reader = capture_format::open_file(path)?;
    of_reader(&path.display().to_string(), &mut reader, view, out)
}

/// Shows a capture, and tells what of it is damaged.
pub(crate) fn of_reader<R: Read + Seek>(
    name: &str,
    reader: &mut Reader<R>,
    view: &impl View,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    view.print(reader, out)?;
    for damage in reader.damage() {
        eprintln!("lastword: {name}: {damage}");
    }
    Ok(if reader.damage().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One JSON document, for people to read too.
pub(crate) fn print_json(
    value: &impl serde::Serialize,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}
