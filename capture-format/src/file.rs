//! Captures as files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::{Header, OpenError, Reader, Summary, WriteError, Writer};

/// Writes a capture to `path`, as a [`NewFile`]; `fill` writes the runs.
///
/// # Errors
/// The error that `fill` returned, or the file operation that failed. The temporary file is then removed.
pub fn write_file(
    path: &Path,
    header: &Header,
    fill: impl FnOnce(&mut Writer<File>) -> Result<(), WriteError>,
) -> Result<Summary, WriteError> {
    let new = NewFile::create(path)?;
    let file = new
        .file
        .try_clone()
        .map_err(WriteError::at(path, "writing"))?;
    let written = (|| {
        let mut writer = Writer::new(file, header)?;
        fill(&mut writer)?;
        Ok(writer.finish()?.1)
    })();
    let summary = written.map_err(|error| match error {
        // Its cause already says what to do.
        WriteError::Io(error) => WriteError::File {
            path: path.to_owned(),
            action: "writing",
            error,
        },
        error => error,
    })?;
    new.keep()?;
    Ok(summary)
}

/// A file that appears under its name only when it is complete and on the disk, readable by its owner alone. It is used
/// for captures and for everything that shows their content.
///
/// It is written under a temporary name (`.NAME.PID-N.part`) in the same directory, and removed unless
/// [`keep`](Self::keep) is called, which replaces an existing file of that name. If the name is a link, the file that
/// it leads to is replaced.
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl NewFile {
    /// Makes the temporary file.
    ///
    /// # Errors
    /// If the file cannot be made; if the path names something other than a file; if the path leads through another
    /// user's link in a folder where everybody may write.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let target = target(path)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // A process that was killed may have left its temporary file, and may have had our pid (1 in a container).
        let mut attempt = 0u64;
        loop {
            let mut name = std::ffi::OsString::from(".");
            name.push(target.file_name().unwrap_or_default());
            name.push(format!(".{}-{attempt}.part", std::process::id()));
            let temporary = target.with_file_name(name);
            match options.open(&temporary) {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        temporary,
                        target,
                        kept: false,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => return Err(WriteError::at(&target, "creating")(error)),
            }
        }
    }

    /// Syncs the file, gives it its name and syncs the directory.
    ///
    /// # Errors
    /// The operation that failed. The temporary file is then removed.
    pub fn keep(mut self) -> Result<(), WriteError> {
        let target = &self.target;
        self.file
            .sync_all()
            .map_err(WriteError::at(target, "syncing"))?;
        fs::rename(&self.temporary, target).map_err(WriteError::at(target, "renaming to"))?;
        self.kept = true;
        let directory = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        match synced {
            // Some file systems cannot sync directories, and a directory that may be written to need not be readable.
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied
                ) =>
            {
                Err(WriteError::at(directory, "syncing the directory")(error))
            }
            _ => Ok(()),
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing can be done about a failure here, and an earlier error is the one that matters.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// The file to be replaced. Links are followed; anything other than a file is refused.
fn target(path: &Path) -> Result<PathBuf, WriteError> {
    #[cfg(unix)]
    foreign_link(path)?;
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

/// Refuses what Linux refuses if `fs.protected_symlinks` is set (proc_sys_fs(5)), which is not the case on every
/// machine: a link in a sticky folder that everybody may write to, unless the link belongs to us or to the folder's
/// owner.
#[cfg(unix)]
fn foreign_link(path: &Path) -> Result<(), WriteError> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let own = nix::unistd::geteuid().as_raw();
    for part in path.ancestors() {
        let folder = match part.parent() {
            Some(folder) if folder == Path::new("") => Path::new("."),
            Some(folder) => folder,
            None => break,
        };
        // A part that does not exist or cannot be looked at gives an error later, when it is used.
        let (Ok(link), Ok(folder)) = (fs::symlink_metadata(part), fs::metadata(folder)) else {
            continue;
        };
        let is_open = folder.permissions().mode() & 0o1002 == 0o1002;
        if link.is_symlink() && is_open && link.uid() != own && link.uid() != folder.uid() {
            return Err(WriteError::ForeignLink {
                link: part.to_owned(),
            });
        }
    }
    Ok(())
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
    // The kind of file is checked first: opening a pipe waits for a writer, and opening a device may have an effect.
    let regular = |found: fs::Metadata| match not_a_file(&found) {
        Some(what) => Err(unreadable(io::Error::other(what))),
        None => Ok(()),
    };
    regular(fs::metadata(path).map_err(unreadable)?)?;
    let file = File::open(path).map_err(unreadable)?;
    regular(file.metadata().map_err(unreadable)?)?;
    Reader::open(file).map_err(|error| match error {
        OpenError::Io(error) => unreadable(error),
        error => OpenError::File {
            path: path.to_owned(),
            error: Box::new(error),
        },
    })
}

/// What a path is instead of a regular file, and what to do; `None` if it is a regular file.
fn not_a_file(found: &fs::Metadata) -> Option<&'static str> {
    if found.is_file() {
        return None;
    }
    if found.is_dir() {
        return Some("it is a directory; name a capture (*.lwcap) in it");
    }
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type()) {
        return Some("it is a pipe; name - and redirect it to standard input: `- < PIPE`");
    }
    Some("it is a device or a socket; name a regular file, or - for standard input")
}
