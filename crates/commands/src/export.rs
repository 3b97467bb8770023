//! `export`: writes a capture in another format, to a file or a pipe.

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::bail;
use clap::ValueEnum;
use inspect::{
    export::{otlp, pcapng, perfetto, scap},
    show,
};

use crate::output::Output;
use crate::selecting::Select;
use crate::{Capture, Screen, View};

/// A capture in another format.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Export {
    /// Format
    #[arg(long, value_name = "FORMAT")]
    to: Format,
    /// Where to write it, - for standard output
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    select: Select,
    /// scap: for older sysdigs, such as 0.29, instead of newer ones and Stratoshark
    #[arg(long)]
    classic: bool,
}

/// The formats; docs/exports.md says what each holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// sysdig and Stratoshark: all events with their payloads
    Scap,
    /// Wireshark and tshark: the DNS messages as packets
    Pcapng,
    /// What `show --json` prints: one object an event
    Json,
    /// OpenTelemetry collectors: log records, OTLP in JSON
    Otlp,
    /// ui.perfetto.dev: processes as tracks, events as slices
    Perfetto,
}

impl Format {
    /// Whether the format must not be written to a terminal.
    fn is_binary(self) -> bool {
        match self {
            Self::Scap | Self::Pcapng | Self::Perfetto => true,
            Self::Json | Self::Otlp => false,
        }
    }
}

impl View for Export {
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
        self.check()?;
        if self.output.as_os_str() != "-" {
            return self.to_file(capture);
        }
        if self.to.is_binary() && out.is_terminal() {
            bail!("this format is nothing for a terminal: name a file with -o, or pipe it on");
        }
        self.write(capture, out)
    }
}

impl Export {
    fn check(&self) -> anyhow::Result<()> {
        if self.classic && self.to != Format::Scap {
            bail!("--classic is a flavour of scap: leave it out, or export --to scap");
        }
        Ok(())
    }

    /// Writes the whole file or nothing. A path that is not a regular file, such as a pipe, is written to directly.
    fn to_file(&self, capture: &mut Capture) -> anyhow::Result<()> {
        let mut file = Output::create(&self.output)?;
        self.write(capture, &mut BufWriter::new(&mut file))?;
        file.keep()
    }

    fn write(&self, capture: &mut Capture, mut out: &mut dyn Write) -> anyhow::Result<()> {
        let select = self.select.of(capture)?;
        let reader = &mut capture.reader;
        match self.to {
            Format::Scap if self.classic => {
                scap::write(reader, &select, scap::Flavour::Classic, &mut out)
            }
            Format::Scap => scap::write(reader, &select, scap::Flavour::Modern, &mut out),
            Format::Pcapng => pcapng::write(reader, &select, &mut out),
            Format::Otlp => otlp::write(reader, &select, &mut out),
            Format::Perfetto => perfetto::write(reader, &select, &mut out),
            Format::Json => {
                let options = show::Options {
                    json: true,
                    select,
                    ..show::Options::default()
                };
                show::show(reader, &mut out, &options).map(drop)
            }
        }?;
        Ok(out.flush()?)
    }
}
