//! Files and directories that only their owner can read, and that are either complete or absent.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Whether this is the name of a file that was still being written: `.NAME.….part`, as of [`write_whole`] and
/// [`capture_format::write_file`].
pub(crate) fn is_half(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".part")
}

/// Where a file is before it gets its name.
pub(crate) fn half(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.part"))
}

/// Writes a small file under a temporary name, syncs it and gives it its name.
pub(crate) fn write_whole(path: &Path, parts: &[&[u8]], sync: bool) -> io::Result<()> {
    let temporary = half(path);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(directory) if sync => sync_directory(directory),
            _ => Ok(()),
        }
    })();
    if written.is_err() {
        // The error under way is the one that matters; what is left goes at the next start.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Creates the directory below `root`, which is made anew if somebody removed it; all that is created below it is on
/// the disk then.
pub(crate) fn create_below(root: &Path, relative: &Path) -> io::Result<PathBuf> {
    create_private_unless_there(root)?;
    let mut directory = root.to_owned();
    for component in relative {
        let parent = directory.clone();
        directory.push(component);
        match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => sync_directory(&parent)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(directory)
}

/// Creates the directory with all above it, closed to others; one that is there stays as it is.
pub(crate) fn create_private_unless_there(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Creates the directory with all above it, and closes it to others even if it was there.
pub(crate) fn create_private(directory: &Path) -> io::Result<()> {
    create_private_unless_there(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the directory and those above it, up to `root`, as far as they are empty.
pub(crate) fn remove_empty(root: &Path, mut directory: &Path) {
    while directory != root && directory.starts_with(root) && fs::remove_dir(directory).is_ok() {
        let Some(parent) = directory.parent() else {
            return;
        };
        directory = parent;
    }
}

pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some file systems do not sync directories.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}
