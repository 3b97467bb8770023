//! `export`: a capture in another format, in a file or a pipe.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use inspect::{
    export::{otlp, pcapng, perfetto, scap},
    show,
};

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
    /// Whether it is nothing for terminals.
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

    /// Writes beside the file and renames, so that a file of that name is whole; what is no regular file is written as it is.
    fn to_file(&self, capture: &mut Capture) -> anyhow::Result<()> {
        // Behind links: they stay.
        let path = &fs::canonicalize(&self.output).unwrap_or_else(|_| self.output.clone());
        let cannot = || format!("cannot write {}", path.display());
        let is_special = fs::metadata(path).is_ok_and(|it| !it.is_file());
        if is_special {
            let file = File::options()
                .write(true)
                .open(path)
                .with_context(cannot)?;
            return self.write(capture, &mut BufWriter::new(file));
        }
        let beside = beside(path);
        let written = create(&beside)
            .with_context(cannot)
            .and_then(|file| self.write(capture, &mut BufWriter::new(file)))
            .and_then(|()| fs::rename(&beside, path).with_context(cannot));
        if written.is_err() {
            // Whether it can be removed or not, the error that is told is the first one.
            let _ = fs::remove_file(&beside);
        }
        written
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

/// A new file is its owner's alone, as captures are: what they hold, the export holds.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A name in the same folder.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
