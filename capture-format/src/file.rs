//! Captures as files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::{Header, OpenError, Reader, Summary, WriteError, Writer};

/// Writes a capture to `path`, readable by its owner alone; `fill` writes the runs.
///
/// The file appears under its name only when it is complete and on the disk: it is written under a temporary name
/// (`.NAME.PID-N.part`) next to it. A file that is already there is replaced then.
///
/// # Errors
/// What `fill` returns, or which file operation failed; the temporary file is then gone.
pub fn write_file(
    path: &Path,
    header: &Header,
    fill: impl FnOnce(&mut Writer<File>) -> Result<(), WriteError>,
) -> Result<Summary, WriteError> {
    let path = &target(path)?;
    let temporary = Temporary::create(path)?;
    let file = temporary
        .file
        .try_clone()
        .map_err(WriteError::at(path, "writing"))?;
    let written = (|| {
        let mut writer = Writer::new(file, header)?;
        fill(&mut writer)?;
        Ok(writer.finish()?.1)
    })();
    let summary = written.map_err(|error| match error {
        WriteError::Io(error) => WriteError::at(path, "writing")(error),
        error => error,
    })?;
    temporary.keep_as(path)?;
    Ok(summary)
}

/// The file to be replaced: behind links, and nothing but a file.
fn target(path: &Path) -> Result<PathBuf, WriteError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {
            fs::canonicalize(path).map_err(WriteError::at(path, "resolving"))
        }
        Ok(_) => Err(WriteError::NotAFile {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound && path.file_name().is_some() => {
            Ok(path.to_owned())
        }
        Err(error) => Err(WriteError::at(path, "looking for")(error)),
    }
}

/// A file that is removed unless it is kept.
struct Temporary {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Temporary {
    fn create(target: &Path) -> Result<Self, WriteError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // A process that was killed may have left its file, and its pid may be ours (1, in a container).
        let mut attempt = 0u64;
        loop {
            let mut name = std::ffi::OsString::from(".");
            name.push(target.file_name().unwrap_or_default());
            name.push(format!(".{}-{attempt}.part", std::process::id()));
            let path = target.with_file_name(name);
            match options.open(&path) {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        path,
                        kept: false,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => return Err(WriteError::at(target, "creating")(error)),
            }
        }
    }

    /// Syncs the file, gives it its name and syncs the directory.
    fn keep_as(mut self, target: &Path) -> Result<(), WriteError> {
        self.file
            .sync_all()
            .map_err(WriteError::at(target, "syncing"))?;
        fs::rename(&self.path, target).map_err(WriteError::at(target, "renaming to"))?;
        self.kept = true;
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        match synced {
            // Some file systems do not sync directories.
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::InvalidInput | ErrorKind::Unsupported
                ) =>
            {
                Err(WriteError::at(directory, "syncing the directory")(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing can be done about a failure here; the error under way is the one that matters.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens a capture by its path.
///
/// # Errors
/// As [`Reader::open`], with the path.
pub fn open_file(path: &Path) -> Result<Reader<File>, OpenError> {
    let unreadable = |error| OpenError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a regular file")));
    }
    Reader::open(file).map_err(|error| match error {
        OpenError::Io(error) => unreadable(error),
        error => OpenError::File {
            path: path.to_owned(),
            error: Box::new(error),
        },
    })
}
