//! The commands that read captures: what `lastword COMMAND FILE` and `kubectl lastword COMMAND POD` have in common.
//!
//! A reading command has three parts. A *source* says which captures: files here, or a pod's captures in the kubectl
//! plugin; it is the type parameter `S`. A *view* is one way to look at a capture, as text or as JSON. The *terminal*
//! gives the text its width, colours and a pager.
//!
//! ```text
//! Command<S> ─► S: which captures ─► Captures
//!           ├─► View: text or JSON ─► Screen
//!           └─► Terminal: width, colours, pager ─┘
//! ```
//!
//! This crate handles arguments, files and terminals only. What events mean, and how they are shown, is decided in
//! [`inspect`].

#![forbid(unsafe_code)]

use std::{
    io::{Read, Seek, Write},
    path::Path,
    process::ExitCode,
};

use capture_format::Reader;
use clap::Subcommand;

mod comparing;
mod export;
mod fields;
mod files;
mod looking;
mod manual;
mod one_by_one;
mod output;
mod pager;
mod progress;
mod report;
mod roaming;
mod selecting;
mod streaming;
mod terminal;
mod views;

pub use files::Files;
pub use manual::{Completions, Man};
pub use one_by_one::{Captures, Shown};
pub use terminal::{Screen, Terminal};
pub use views::Explain;

/// Something that the bytes of a capture can be read from.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// An open capture.
pub struct Capture {
    /// Its name in messages: a path, or the name of a Capture object.
    pub name: String,
    /// Its content.
    pub reader: Reader<Box<dyn Source>>,
    progress: Option<progress::Progress>,
}

impl Capture {
    /// A capture in memory, or in another place from which reading takes no time.
    #[must_use]
    pub fn new(name: String, reader: Reader<Box<dyn Source>>) -> Self {
        Self {
            name,
            reader,
            progress: None,
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a capture.
    pub fn file(path: &Path) -> anyhow::Result<Self> {
        let size = path.metadata().map_or(0, |metadata| metadata.len());
        let progress = progress::Progress::new(size);
        let reader = capture_format::open_file(path)?;
        Ok(Self {
            name: path.display().to_string(),
            reader: reader.map_source(|file| Box::new(progress.watch(file)) as _),
            progress: Some(progress),
        })
    }
}

/// One way to look at a capture.
pub trait View {
    /// Writes the view.
    ///
    /// # Errors
    /// If the capture has nothing of what was asked for, or if `out` fails.
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()>;

    /// Whether the view writes text for people. Such text gets headings if there are several captures, and goes through
    /// a pager at a terminal.
    fn is_text(&self) -> bool {
        false
    }

    /// Writes the view of several captures, one after the other, unless the view looks at them together.
    ///
    /// # Errors
    /// As for [`View::print`], if there is one capture. Of several captures, those that can be shown are shown.
    fn print_all(
        &self,
        captures: &mut Captures<'_>,
        out: &mut Screen<'_>,
    ) -> anyhow::Result<Shown> {
        let print = |capture: &mut Capture, out: &mut Screen<'_>| self.print(capture, out);
        one_by_one::print(captures, &print, self.is_text(), out)
    }

    /// Writes the view of the only capture.
    ///
    /// # Errors
    /// As for [`View::print`].
    fn print_only(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<Shown> {
        out.watch(capture.progress.as_ref());
        self.print(capture, out)?;
        let mut shown = Shown::default();
        shown.damage_of(capture);
        Ok(shown)
    }
}

/// Captures, and the view in which they are shown.
#[derive(Debug, clap::Args)]
pub struct Of<S: clap::Args, V: clap::Args> {
    #[command(flatten)]
    which: S,
    #[command(flatten)]
    view: V,
    #[command(flatten)]
    terminal: Terminal,
}

/// Captures and a view, from the command line.
pub struct Request<S> {
    /// The captures.
    pub which: S,
    view: Box<dyn View>,
    terminal: Terminal,
}

impl<S> Request<S> {
    /// Shows captures as requested, on standard output (which is `out`) or in a pager.
    ///
    /// # Errors
    /// As for [`View::print_all`].
    pub fn show(
        &self,
        captures: &mut Captures<'_>,
        out: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        self.terminal.show(captures, &*self.view, out)
    }
}

impl<S: clap::Args, V: clap::Args + View + 'static> Of<S, V> {
    fn request(self) -> Request<S> {
        Request {
            which: self.which,
            view: Box::new(self.view),
            terminal: self.terminal,
        }
    }
}

/// The commands; `S` says which captures.
#[derive(Subcommand)]
pub enum Command<S: clap::Args> {
    /// Say in one sentence why the container died, with the evidence
    Explain(Of<S, views::Explain>),
    /// Print the events before it died
    Show(Box<Of<S, views::Show>>),
    /// Print what the capture says about itself: container, runs, and what was lost
    Info(Of<S, views::Info>),
    /// Write one HTML page to attach or to print: verdict, timeline, output, failed calls, DNS, processes, losses
    Report(Of<S, report::Report>),
    /// List the runs: when, how long, how each ended and why
    Runs(Of<S, looking::Runs>),
    /// Show the processes as a tree: what they executed, how they ended, who killed them
    Ps(Of<S, looking::Ps>),
    /// List the calls that failed, by error and by file
    Errors(Of<S, looking::Errors>),
    /// List the files: opened, read and written, with bytes and failures
    Files(Of<S, looking::Files>),
    /// Show what was written to and read from a file or standard stream, put together again
    #[command(allow_missing_positional = true)]
    Streams(Of<S, streaming::Streams>),
    /// List the names asked for: search-list expansions, answers, latency, servers
    Dns(Of<S, looking::Dns>),
    /// List the connections and how they ended, and who listened
    Net(Of<S, looking::Net>),
    /// Tell the story of a run in about twenty lines
    Timeline(Of<S, looking::Timeline>),
    /// Compare two captures, or two runs of one: where they part, and what only one has
    Diff(Of<S, comparing::Diff>),
    /// Write it in another format, for other people's tools: sysdig, Stratoshark, Wireshark, Perfetto, OpenTelemetry
    Export(Of<S, export::Export>),
    /// Move about in a capture: verdict, processes, events, streams, names, timeline
    Tui(Of<S, roaming::Tui>),
}

impl<S: clap::Args> Command<S> {
    /// If it is `explain`: which captures, and whether as JSON.
    pub fn as_explain(&self) -> Option<(&S, bool)> {
        match self {
            Self::Explain(of) => Some((&of.which, of.view.json)),
            _ => None,
        }
    }

    /// Which captures, and how they are looked at.
    pub fn request(self) -> Request<S> {
        match self {
            Self::Explain(of) => of.request(),
            Self::Show(of) => of.request(),
            Self::Info(of) => of.request(),
            Self::Report(of) => of.request(),
            Self::Runs(of) => of.request(),
            Self::Ps(of) => of.request(),
            Self::Errors(of) => of.request(),
            Self::Files(of) => of.request(),
            Self::Streams(of) => of.request(),
            Self::Dns(of) => of.request(),
            Self::Net(of) => of.request(),
            Self::Timeline(of) => of.request(),
            Self::Diff(of) => of.request(),
            Self::Export(of) => of.request(),
            Self::Tui(of) => of.request(),
        }
    }
}

/// The commands that need no capture.
#[derive(Subcommand)]
pub enum Offline {
    /// List the fields that `show --filter` can ask, with examples
    Fields(fields::Fields),
}

impl Offline {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is nothing to print, or if `out` fails.
    pub fn act(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self {
            Self::Fields(fields) => fields.print(out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows one capture as it is shown without a terminal, and reports its damage.
///
/// # Errors
/// As for [`View::print`].
pub fn show(capture: &mut Capture, view: &dyn View, out: &mut dyn Write) -> anyhow::Result<()> {
    view.print(capture, &mut Screen::plain(out))?;
    for damage in capture.reader.damage() {
        note(format_args!("{}: {damage}", capture.name));
    }
    Ok(())
}

/// Writes a note to standard error, even if nobody reads it.
fn note(message: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "lastword: {message}");
}

/// Writes a JSON document that people can read, too.
///
/// # Errors
/// When `out` fails.
pub fn print_json(value: &impl serde::Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    Ok(inspect::json::write_pretty(value, out)?)
}
