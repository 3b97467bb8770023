//! What an operator adds to the rules.

use serde::{Deserialize, Serialize};

/// Rules beyond those lastword always applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Patterns to mask in payloads, paths, arguments, and in what Kubernetes says.
    pub patterns: Vec<Pattern>,
    /// Files whose content is never stored, and directories of such files: absolute paths as containers see them.
    pub secret_paths: Vec<String>,
}

/// A pattern of what must not be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Captures count what was masked by this name.
    pub name: String,
    /// Regular expression on bytes, as of the `regex` crate. Its first group is masked, without one all that matches.
    pub regex: String,
}

/// What is kept of the bytes that processes read, write, send and receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// All that was recorded, its secrets masked.
    #[default]
    Default,
    /// Nothing, DNS messages included. Names, paths, addresses, results and arguments of programs stay, so that failed
    /// calls still carry a verdict, while last words and DNS answers cannot.
    None,
}
