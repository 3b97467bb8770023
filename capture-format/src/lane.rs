//! The lanes of a ring, each of which overwrites its own events: `name` of [`EventKind::GAP`](crate::EventKind::GAP).

/// Programs, forks, exits, signals, OOM kills.
pub const LIFE: &str = "life";
/// System calls that failed.
pub const FAILURES: &str = "failures";
/// DNS, and connections with their outcome.
pub const NETWORK: &str = "network";
/// What gives a descriptor its meaning: open, close, dup, pipe, socket, chdir.
pub const FILES: &str = "files";
/// What was read from small text files.
pub const CONFIG: &str = "config";
/// What was written to standard error and to logs, and writes that failed.
pub const ERRORS: &str = "errors";
/// What was written to standard output.
pub const OUTPUT: &str = "output";
/// All other reads, writes, sends and receives.
pub const BULK: &str = "bulk";
