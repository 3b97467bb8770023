//! Files and directories that only their owner can read, and that are either complete or absent.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Whether a file with this name was still being written: [`write_whole`] and [`capture_format::write_file`] use
/// `.NAME.….part`.
pub(crate) fn is_half(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".part")
}

/// The path of a file before it gets its name.
pub(crate) fn half(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.part"))
}

/// Writes a small file under a temporary name, syncs it, and gives it its name.
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
        // The earlier error is the one that matters. If the file stays, it is removed at the next start.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Creates a directory below `root`. `root` is created anew if somebody removed it. Everything created below `root` is
/// on the disk afterwards.
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

/// Creates a directory and all directories above it, closed to others. A directory that exists is not changed.
pub(crate) fn create_private_unless_there(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Creates a directory and all directories above it, and closes it to others even if it existed.
pub(crate) fn create_private(directory: &Path) -> io::Result<()> {
    create_private_unless_there(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

/// Removes a file. If the file does not exist, that is not an error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the directory and those above it, up to `root`, if they are empty.
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
        // Some file systems cannot sync directories.
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
