//! Files that commands write.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use anyhow::Context as _;
use capture_format::NewFile;

/// A new file, which appears when it is complete; or something that exists and is not a regular file, such as a pipe or
/// `/dev/stdout`, which is written to directly.
pub(crate) enum Output {
    New(NewFile),
    Special(File),
}

impl Output {
    /// Makes or opens the output.
    ///
    /// # Errors
    /// If it cannot be written there.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let is_special = fs::metadata(path).is_ok_and(|it| !it.is_file() && !it.is_dir());
        if is_special {
            let file = File::options().write(true).open(path);
            let file = file.with_context(|| format!("cannot write {}", path.display()))?;
            return Ok(Self::Special(file));
        }
        let new = NewFile::create(path);
        Ok(Self::New(new.with_context(|| {
            format!("cannot write {}", path.display())
        })?))
    }

    /// Gives the new file its name.
    ///
    /// # Errors
    /// If the file cannot be given its name.
    pub(crate) fn keep(self) -> anyhow::Result<()> {
        match self {
            Self::New(new) => Ok(new.keep()?),
            Self::Special(_) => Ok(()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::New(new) => new.write(bytes),
            Self::Special(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::New(new) => new.flush(),
            Self::Special(file) => file.flush(),
        }
    }
}
