//! A capture on one screen of a terminal, to move about in: verdict, runs, processes, events, and the views made of
//! them.
//!
//! ```text
//! terminal ─► Message ─► App::update ─► App ─► draw ─► terminal
//!                ▲           │
//!                │           └─► asks ─┬─► pager   events as lines, a window at a time, in slices
//!                └──────── answers ────┴─► digest  what takes a whole pass: verdicts, views
//! ```
//!
//! `App` is the state of the screen. It neither reads nor waits. Two threads read, each with a reader of its own on
//! the same bytes, so lines appear while a verdict is still being made. Memory holds only the events whose lines are
//! around the cursor and, for a few places of a run, what must be remembered of the events before.

#![forbid(unsafe_code)]

use std::io::{Read, Seek};

use capture_format::Reader;

mod app;
mod digest;
mod draw;
mod input;
mod layout;
mod list;
mod pager;
mod places;
mod shared;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod threads;
mod window;

/// Why a capture cannot be shown, or not any longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no terminal.
    #[error(
        "lastword tui needs a terminal, for keys and for the screen; without one use `lastword explain`, `show` or `timeline`"
    )]
    NoTerminal,
    /// The terminal fails.
    #[error("the terminal fails")]
    Terminal(#[from] std::io::Error),
    /// Reading panicked.
    #[error(
        "reading the capture failed: this is a bug of lastword; `lastword show` may still read it"
    )]
    Died,
}

/// Shows a capture until the person at the terminal quits; `name` is the capture's name for the title.
///
/// # Errors
/// If input or output is not a terminal, or if the terminal fails.
pub fn run<R: Read + Seek + Send + 'static>(
    name: &str,
    reader: Reader<R>,
    colours: bool,
) -> Result<(), Error> {
    terminal::run(name, reader, draw::Theme { colours })
}
