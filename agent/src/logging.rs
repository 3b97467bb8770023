//! Log records to standard error.

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("lastword: {}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

/// Sends every log record to standard error, unless there is a logger already.
pub(crate) fn to_stderr() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
