//! `streams`: shows what went through a file, a standard stream or a descriptor.

use std::path::Path;

use anyhow::{bail, ensure};
use inspect::views;
use inspect::views::streams::{Direction, Format, Printer, What, head, streams};

use crate::{Capture, Screen, View};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// What was written or sent
    Written,
    /// What was read or received
    Read,
}

/// What went through a stream.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Streams {
    /// stdin, stdout, stderr; a path or the last components of one, such as error.log; a descriptor: FD or PID:FD
    #[arg(value_name = "WHAT", value_parser = what)]
    what: String,
    /// Number of the run [default: the last one]
    #[arg(long, value_name = "N")]
    run: Option<u32>,
    /// Only what was written, or only what was read
    #[arg(long, value_enum, value_name = "WAY")]
    only: Option<Only>,
    /// Hex and characters instead of text
    #[arg(long, conflicts_with_all = ["raw", "json"])]
    hex: bool,
    /// The bytes as they are, of calls that did not fail; refused where a terminal would show them
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// One JSON object a call, with the number of its event
    #[arg(long)]
    json: bool,
}

/// Parses WHAT. A word that names a capture is refused: the person has named a capture and forgotten to say which
/// stream.
fn what(text: &str) -> Result<String, String> {
    match text.ends_with(".lwcap") && Path::new(text).is_file() {
        true => Err(
            "this is a capture: say after it WHAT is to be shown of it, stdout for one".to_owned(),
        ),
        false => Ok(text.to_owned()),
    }
}

impl Streams {
    fn format(&self) -> Format {
        match self {
            Self { hex: true, .. } => Format::Hex,
            Self { raw: true, .. } => Format::Raw,
            Self { json: true, .. } => Format::Json,
            _ => Format::Text,
        }
    }
}

impl View for Streams {
    fn print(&self, capture: &mut Capture, out: &mut Screen<'_>) -> anyhow::Result<()> {
        ensure!(
            !(self.raw && out.is_terminal()),
            "--raw would let a terminal act on what the container wrote; send it to a file or a pipe, or leave --raw out"
        );
        let reader = &mut capture.reader;
        let index = views::find_run(reader.runs(), self.run)?;
        let Ok(what) = self.what.parse::<What>();
        let only = self.only.map(|only| match only {
            Only::Written => Direction::Written,
            Only::Read => Direction::Read,
        });
        let run = head(reader, index);
        let mut printer = Printer::new(self.format(), out.look(), out);
        let overwritten = run.losses.overwritten;
        let mut told = overwritten == 0 || !self.is_text();
        let found = streams(reader, index, &what, only, &mut |piece| {
            if !std::mem::replace(&mut told, true) {
                printer.note(&format!(
                    "{overwritten} events of run {} were overwritten by newer ones: earlier bytes may be missing",
                    run.number
                ))?;
            }
            printer.piece(&piece)
        })?;
        printer.end()?;
        if found.chunks == 0 {
            let there: Vec<_> = found.there.into_iter().collect();
            let there = match there.is_empty() {
                true => "nothing was read or written in it".to_owned(),
                false => format!("there are: {}", there.join(", ")),
            };
            bail!(
                "nothing recorded of run {} went through {what}; {there}",
                run.number
            );
        }
        Ok(())
    }

    fn is_text(&self) -> bool {
        matches!(self.format(), Format::Text | Format::Hex)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{Capture, Command, Files};

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command<Files>,
    }

    #[test]
    fn files_come_first_and_what_is_asked_for_comes_last() {
        for line in [
            "x streams a.lwcap stdout",
            "x streams a.lwcap b.lwcap error.log --hex",
            "x streams - 100:3 --only read --run 2",
            "x streams --raw a.lwcap stdout --no-pager --color never",
            "x streams stdout",
            "x streams stdout --hex",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            let Ok(Cli {
                command: Command::Streams(_),
            }) = parsed
            else {
                panic!("{line}");
            };
        }
        for line in [
            "x streams",
            "x streams a stdout --raw --json",
            "x streams a stdout --hex --raw",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    fn streams(what: &str) -> Streams {
        Streams {
            what: what.to_owned(),
            run: None,
            only: None,
            hex: false,
            raw: false,
            json: false,
        }
    }

    fn capture() -> Capture {
        let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
        Capture::file(&captures.join("nginx-upstream.lwcap")).unwrap()
    }

    #[test]
    fn raw_bytes_are_refused_where_a_terminal_would_show_them() {
        let raw = Streams {
            raw: true,
            ..streams("stderr")
        };
        let mut out = Vec::new();
        raw.print(&mut capture(), &mut Screen::plain(&mut out))
            .unwrap();
        assert!(out.starts_with(b"nginx: [emerg] host not found"));
        let mut out = Vec::new();
        let refused = raw.print(&mut capture(), &mut Screen::terminal(&mut out, 80));
        assert!(refused.unwrap_err().to_string().contains("--raw"));
        assert!(out.is_empty());
    }

    #[test]
    fn a_stream_that_is_not_there_is_an_error_that_names_those_that_are() {
        let mut out = Vec::new();
        let error = streams("access.log").print(&mut capture(), &mut Screen::plain(&mut out));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("access.log") && error.contains("/var/log/nginx/error.log"),
            "{error}"
        );
    }
}
