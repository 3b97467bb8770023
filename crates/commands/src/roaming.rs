//! `tui`: moving about in a capture.

use anyhow::{Context as _, ensure};

use crate::{Capture, Captures, Screen, Shown, View};

/// A capture to move about in.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub struct Tui;

impl View for Tui {
    /// The UI takes over the terminal and needs the capture itself, so [`View::print_all`] is used instead.
    fn print(&self, _: &mut Capture, _: &mut Screen<'_>) -> anyhow::Result<()> {
        Err(tui::Error::NoTerminal.into())
    }

    fn print_all(
        &self,
        captures: &mut Captures<'_>,
        out: &mut Screen<'_>,
    ) -> anyhow::Result<Shown> {
        ensure!(captures.len() <= 1, "tui shows one capture at a time");
        let capture = captures.next().context("no capture")??;
        // From here on the screen belongs to the UI.
        if let Some(progress) = &capture.progress {
            progress.end();
        }
        tui::run(&capture.name, capture.reader, out.look().colours)?;
        Ok(Shown::default())
    }
}
