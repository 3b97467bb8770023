//! Files that commands write.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use anyhow::Context as _;
use capture_format::NewFile;

/// A new file, whole or not at all; or what is there and no regular file, a pipe or `/dev/stdout`, written as it is.
pub(crate) enum Output {
    New(NewFile),
    Special(File),
}

impl Output {
    /// Makes or opens it.
    ///
    /// # Errors
    /// It cannot be written there.
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

    /// Gives a new file its name.
    ///
    /// # Errors
    /// It cannot be kept there.
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
