//! What is wrong with a configuration.

use thiserror::Error;

/// Why the configured rules cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A pattern is not a regular expression, or is too large.
    #[error(
        "redaction pattern \"{name}\" cannot be used: {error}; the syntax is that of https://docs.rs/regex/latest/regex/#syntax"
    )]
    Pattern {
        /// Name of the pattern.
        name: String,
        /// What is wrong with it. The message includes it, so it is no source.
        error: Box<regex::Error>,
    },
    /// A pattern that matches the empty text would match everywhere and mask nothing.
    #[error(
        "redaction pattern \"{name}\" matches the empty text: write it so that it needs at least one character, such as + instead of *"
    )]
    Empty {
        /// Name of the pattern.
        name: String,
    },
    /// A name is missing, is used twice, or is the name of one of lastword's own rules.
    #[error(
        "redaction pattern {number} needs a name of its own, it has \"{name}\": captures count by it what was masked"
    )]
    Name {
        /// Its position in the configuration, from 1.
        number: usize,
        /// The name that it has.
        name: String,
    },
    /// The rules that are compiled in cannot be read.
    #[error("the rules of this build are damaged ({0}): please report it")]
    Rules(String),
    /// A path of secret files is not absolute.
    #[error(
        "the secret path \"{path}\" is not absolute: write it as the container sees it, from / on"
    )]
    Path {
        /// The path.
        path: String,
    },
}
