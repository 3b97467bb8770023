//! What is wrong with an expression, and at which position.

use std::fmt;
use std::ops::Range;

use unicode_width::UnicodeWidthChar;

use events::escape::is_harmful;

/// At most this many characters of the expression are shown before and after the wrong part.
const CONTEXT: usize = 60;

/// What is wrong, and where: byte positions.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Fault {
    pub(super) fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(self, help: impl Into<Option<String>>) -> Self {
        Self {
            help: help.into(),
            ..self
        }
    }
}

/// Why an expression is no filter.
///
/// Displayed it has the expression, or the part of it that matters, with the wrong part marked:
///
/// ```text
/// column 1: there is no field `prc.name`
///   prc.name=nginx and evt.failed=true
///   ^^^^^^^^
/// did you mean `proc.name`? `lastword fields` lists all fields
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    column: usize,
    message: String,
    help: Option<String>,
    /// The expression, and a line of carets below it.
    drawing: String,
}

impl FilterError {
    pub(super) fn new(text: &str, fault: Fault) -> Self {
        let start = text.floor_char_boundary(fault.at.start);
        let end = text.ceil_char_boundary(fault.at.end).max(start);
        let (before, marked, after) = (&text[..start], &text[start..end], &text[end..]);
        let kept = before.char_indices().rev().nth(CONTEXT - 1);
        let before = match kept {
            Some((at, _)) if at > 0 => format!("…{}", visible(&before[at..])),
            _ => visible(before),
        };
        let (marked, after) = (shortened(marked), shortened(after));
        let (indent, carets) = (width(&before), width(&marked).max(1));
        let carets = "^".repeat(carets);
        Self {
            column: text[..start].chars().count() + 1,
            message: fault.message,
            help: fault.help,
            drawing: format!("  {before}{marked}{after}\n  {:indent$}{carets}", ""),
        }
    }

    /// Where the wrong part begins: the position of its first character in the expression, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            column,
            message,
            help,
            drawing,
        } = self;
        write!(f, "column {column}: {message}\n{drawing}")?;
        match help {
            Some(help) => write!(f, "\n{help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FilterError {}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(CONTEXT) {
        Some((at, _)) => format!("{}…", visible(&text[..at])),
        None => visible(text),
    }
}

/// The text on one line, without anything that a terminal would act on.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_whitespace() => ' ',
            c if is_harmful(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// How many columns of a terminal the text needs.
fn width(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// A word of the expression in a form that a message may contain: not too long, and harmless.
pub(super) fn quoted(word: &str) -> String {
    format!("`{}`", shortened(word))
}

/// `did you mean …?` with the candidate that looks most like the word, if one looks like it.
pub(super) fn suggestion<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    /// Two words that are less similar than this have nothing in common that a person would see.
    const ALIKE: f64 = 0.8;
    if word.len() > CONTEXT {
        return None;
    }
    let word = word.to_lowercase();
    let best = candidates
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&word, &name.to_lowercase()), name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|&(alike, _)| alike >= ALIKE)
        .map(|(_, name)| format!("did you mean `{name}`?"))
}
