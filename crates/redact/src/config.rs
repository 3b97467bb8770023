//! What an operator adds to the rules.

use serde::{Deserialize, Serialize};

/// Rules in addition to those that lastword always applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Patterns to mask in payloads, paths, arguments, and in what Kubernetes says.
    pub patterns: Vec<Pattern>,
    /// Files whose content is never stored, and directories of such files: absolute paths as containers see them.
    pub secret_paths: Vec<String>,
}

/// A pattern that matches what must not be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// The name under which captures count what was masked.
    pub name: String,
    /// Regular expression on bytes, as in the `regex` crate. Its first group is masked; without a group, everything
    /// that matches.
    pub regex: String,
}

/// What is kept of the bytes that processes read, write, send and receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// Everything that was recorded, with secrets masked.
    #[default]
    Default,
    /// Nothing, not even DNS messages. Names, paths, addresses, results and arguments of programs are kept. So failed
    /// calls can still lead to a verdict, but last words and DNS answers cannot.
    None,
}
