//! Captures in files.

use std::{io::Write, path::PathBuf, process::ExitCode};

use crate::{Capture, View, show};

/// Captures in files.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Files {
    /// A capture (.lwcap)
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Files {
    /// Shows them.
    ///
    /// # Errors
    /// One cannot be read or is no capture, or `out` fails.
    pub fn show(&self, view: &dyn View, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        show(&mut Capture::file(&self.file)?, view, out)
    }
}
