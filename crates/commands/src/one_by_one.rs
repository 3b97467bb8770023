//! Printing several captures, one after the other.

use std::io::{self, Write as _};

use events::escape::escaped;

use crate::{Capture, Screen};

/// Captures. Each is opened when its turn comes.
pub type Captures<'c> = dyn ExactSizeIterator<Item = anyhow::Result<Capture>> + 'c;

/// The result; its notes are printed when the pager has ended.
#[derive(Debug, Default)]
pub struct Shown {
    /// Whether a capture could not be read completely.
    pub failed: bool,
    /// Notes about the captures.
    pub notes: Vec<String>,
}

impl Shown {
    /// Adds a note for each damaged part of a capture.
    pub(crate) fn damage_of(&mut self, capture: &Capture) {
        for damage in capture.reader.damage() {
            self.failed = true;
            self.notes.push(format!("{}: {damage}", capture.name));
        }
    }

    fn error(&mut self, error: &anyhow::Error) {
        self.failed = true;
        self.notes.push(format!("{error:#}"));
    }
}

/// A function that writes one capture.
type Print<'p> = dyn Fn(&mut Capture, &mut Screen<'_>) -> anyhow::Result<()> + 'p;

/// Writes each capture. If there are several, one that cannot be read gets a note, and the others are shown.
pub(crate) fn print(
    captures: &mut Captures<'_>,
    print: &Print<'_>,
    headings: bool,
    out: &mut Screen<'_>,
) -> anyhow::Result<Shown> {
    let several = captures.len() > 1;
    let mut shown = Shown::default();
    let mut is_first = true;
    for opened in captures {
        let mut capture = match opened {
            Ok(capture) => capture,
            Err(error) if several => {
                shown.error(&error);
                continue;
            }
            Err(error) => return Err(error),
        };
        if several && headings {
            let blank = if std::mem::take(&mut is_first) {
                ""
            } else {
                "\n"
            };
            writeln!(out, "{blank}==> {} <==", escaped(capture.name.as_bytes()))?;
        }
        out.watch(capture.progress.as_ref());
        let printed = print(&mut capture, out);
        out.watch(None);
        shown.damage_of(&capture);
        match printed {
            Ok(()) => {}
            Err(error) if is_output(&error) => return Err(error),
            Err(error) => {
                let error = error.context(capture.name);
                if !several {
                    return Err(error);
                }
                shown.error(&error);
            }
        }
    }
    Ok(shown)
}

/// Whether the output failed: then the other captures need not be tried. The cause of another error may be one of the
/// system as well, which says nothing about the output.
fn is_output(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some()
}
