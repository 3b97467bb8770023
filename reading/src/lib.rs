//! The commands that read captures: what `lastword COMMAND FILE` and `kubectl lastword COMMAND POD` have in common.
//!
//! ```text
//! Command<S> ─► S: which captures (files here, a pod's in kubectl's plugin) ─► Capture
//!           └─► View: one way to look at a capture ─► text or JSON
//! ```
//!
//! What events mean is the business of [`inspect`]; here are only arguments, files and terminals.

#![forbid(unsafe_code)]

use std::{
    io::{Read, Seek, Write},
    path::Path,
    process::ExitCode,
};

use capture_format::Reader;
use clap::Subcommand;

mod export;
mod files;
mod views;

pub use files::Files;
pub use views::Explain;

/// Where a capture's bytes are.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// A capture that has been opened.
pub struct Capture {
    /// How it is called in messages: a path, or the name of a Capture object.
    pub name: String,
    /// What it holds.
    pub reader: Reader<Box<dyn Source>>,
}

impl Capture {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be read, or is no capture.
    pub fn file(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            name: path.display().to_string(),
            reader: capture_format::open_file(path)?.map_source(|file| Box::new(file) as _),
        })
    }
}

/// One way to look at a capture.
pub trait View {
    /// Writes it.
    ///
    /// # Errors
    /// When `out` fails.
    fn print(&self, capture: &mut Capture, out: &mut dyn Write) -> anyhow::Result<()>;
}

/// Captures, and how they are looked at.
#[derive(Debug, clap::Args)]
pub struct Of<S: clap::Args, V: clap::Args> {
    #[command(flatten)]
    which: S,
    #[command(flatten)]
    view: V,
}

impl<S: clap::Args, V: clap::Args + View + 'static> Of<S, V> {
    fn parts(self) -> (S, Box<dyn View>) {
        (self.which, Box::new(self.view))
    }
}

/// The commands; `S` says which captures.
#[derive(Subcommand)]
pub enum Command<S: clap::Args> {
    /// Say in one sentence why the container died, with the evidence
    Explain(Of<S, views::Explain>),
    /// Print the events before it died
    Show(Of<S, views::Show>),
    /// Print what the capture says about itself: container, runs, and what was lost
    Info(Of<S, views::Info>),
    /// Write it in another format, for other people's tools: sysdig, Stratoshark, Wireshark, Perfetto, OpenTelemetry
    Export(Of<S, export::Export>),
}

impl<S: clap::Args> Command<S> {
    /// Which captures, and how they are looked at.
    pub fn parts(self) -> (S, Box<dyn View>) {
        match self {
            Self::Explain(of) => of.parts(),
            Self::Show(of) => of.parts(),
            Self::Info(of) => of.parts(),
            Self::Export(of) => of.parts(),
        }
    }
}

/// Shows a capture, and tells what of it is damaged.
///
/// # Errors
/// When `out` fails.
pub fn show(
    capture: &mut Capture,
    view: &dyn View,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    view.print(capture, out)?;
    for damage in capture.reader.damage() {
        eprintln!("lastword: {}: {damage}", capture.name);
    }
    Ok(if capture.reader.damage().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One JSON document, for people to read too.
///
/// # Errors
/// When `out` fails.
pub fn print_json(value: &impl serde::Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}
