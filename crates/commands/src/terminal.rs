//! How text is written to a terminal: its width, colours, the pager.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use inspect::views::Look;

use crate::one_by_one::Captures;
use crate::pager::{self, Paged};
use crate::progress::Progress;
use crate::{Shown, View};

/// When colours are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    /// To a terminal that shows them, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How text gets to a terminal.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Terminal {
    /// Colours
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        help_heading = "Terminal"
    )]
    color: Color,
    /// Do not show text in a pager ($LASTWORD_PAGER, $PAGER, else less)
    #[arg(long, help_heading = "Terminal")]
    no_pager: bool,
}

/// Where a view is written.
pub struct Screen<'o> {
    out: &'o mut dyn Write,
    progress: Option<Progress>,
    look: Look,
    is_terminal: bool,
}

impl<'o> Screen<'o> {
    /// No terminal: text has any width, and no colours.
    pub fn plain(out: &'o mut dyn Write) -> Self {
        Self {
            out,
            progress: None,
            look: Look::default(),
            is_terminal: false,
        }
    }

    /// A terminal with this width, without colours.
    #[cfg(test)]
    pub(crate) fn terminal(out: &'o mut dyn Write, width: usize) -> Self {
        Self {
            look: Look {
                width: Some(width),
                colours: false,
            },
            is_terminal: true,
            ..Self::plain(out)
        }
    }

    /// How text is laid out.
    #[must_use]
    pub fn look(&self) -> Look {
        self.look
    }

    /// Whether a terminal shows what is written, directly or through a pager: then only text may be written.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Shows how far reading is, until something is written to the same terminal.
    pub(crate) fn watch(&mut self, progress: Option<&Progress>) {
        if let Some(last) = self.progress.take() {
            last.end();
        }
        self.progress = progress.cloned();
    }
}

impl Write for Screen<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_terminal
            && let Some(progress) = self.progress.take()
        {
            progress.end();
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Terminal {
    /// Shows captures on standard output, which is `out`, or in a pager.
    pub(crate) fn show(
        self,
        captures: &mut Captures<'_>,
        view: &dyn View,
        out: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        let is_terminal = io::stdout().is_terminal();
        let wanted = is_terminal && !self.no_pager && view.is_text();
        let mut paged = Paged::new(wanted.then(pager::command).flatten(), out);
        let mut screen = Screen {
            out: &mut paged,
            progress: None,
            look: self.look(is_terminal),
            is_terminal,
        };
        let shown = view.print_all(captures, &mut screen);
        screen.watch(None);
        let ended = paged.end();
        let Shown { failed, notes } = shown?;
        ended?;
        for note in notes {
            crate::note(format_args!("{note}"));
        }
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn look(self, is_terminal: bool) -> Look {
        let width = terminal_size::terminal_size_of(io::stdout());
        let colours = match self.color {
            Color::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            Color::Always => true,
            Color::Never => false,
        };
        Look {
            width: width
                .filter(|_| is_terminal)
                .map(|(width, _)| width.0.into()),
            colours,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::{Capture, Command, Files};

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command<Files>,
    }

    /// The output of a command on a capture, at a terminal with 80 columns.
    fn at_a_terminal(line: &str) -> String {
        let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
        let mut capture = Capture::file(&captures.join("nginx-upstream.lwcap")).unwrap();
        capture.name = "nginx-upstream.lwcap".to_owned();
        let line = line.split(' ').chain(["file"]);
        let request = Cli::try_parse_from(line).unwrap().command.request();
        let mut out = Vec::new();
        let mut screen = Screen::terminal(&mut out, 80);
        request.view.print(&mut capture, &mut screen).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tables_are_cut_to_the_terminal() {
        for command in ["ps", "errors", "files", "dns", "timeline", "diff"] {
            insta::assert_snapshot!(
                format!("{command}_at_80_columns"),
                at_a_terminal(&format!("x {command}"))
            );
        }
    }

    #[test]
    fn json_is_the_same_at_a_terminal() {
        let json = at_a_terminal("x ps --json");
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }
}
