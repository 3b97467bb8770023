//! What is wrong with a configuration file.

use std::{fmt, io, path::PathBuf};

use serde::de;
use thiserror::Error;
use triggers::closest;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("the configuration {} has more than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How many bytes are allowed.
        limit: u64,
    },
    /// Everything that is wrong in the file.
    #[error(
        "the configuration is not valid (docs/configuration.md describes every key):{}",
        list(path, problems)
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problems: Vec<Problem>,
    },
}

fn list(path: &std::path::Path, problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("\n  {}:{problem}", path.display()))
        .collect()
}

/// A line and a column of a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u64,
    /// Counted in characters.
    pub(super) column: u64,
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    at: Option<Position>,
    key: String,
    message: String,
}

impl Problem {
    pub(super) fn new(at: Option<Position>, message: String) -> Self {
        Self {
            at,
            key: String::new(),
            message,
        }
    }

    /// Sets where the problem is, unless that is already known more exactly.
    pub(super) fn at(mut self, position: Position) -> Self {
        self.at.get_or_insert(position);
        self
    }

    /// Sets the key below which the problem is.
    pub(super) fn below(mut self, key: &str) -> Self {
        self.key = key.to_owned();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, key, message } = self;
        if let Some(Position { line, column }) = at {
            write!(f, "{line}:{column}:")?;
        }
        if !key.is_empty() {
            write!(f, " {key}:")?;
        }
        write!(f, " {message}")
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(None, message.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown("key", field, expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown("value", variant, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("`{field}` is missing"))
    }
}

fn unknown(what: &str, word: &str, expected: &[&str]) -> String {
    match closest(word, expected.iter().copied()) {
        Some(meant) => format!("there is no {what} `{word}`; did you mean `{meant}`?"),
        None => format!(
            "there is no {what} `{word}`; there are {}",
            expected.join(", ")
        ),
    }
}
