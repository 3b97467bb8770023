//! The lock on a spool's directory: only one process at a time has the spool open.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::SpoolError;

/// The locked file, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Locks the directory.
    ///
    /// # Errors
    /// If another process has locked it, or the file cannot be opened or locked.
    pub(crate) fn take(directory: &Path) -> Result<Self, SpoolError> {
        let path = path(directory);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(SpoolError::at("opening", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(SpoolError::InUse {
                directory: directory.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(SpoolError::at("locking", &path)(error)),
        }
    }

    /// Whether the locked file is no longer the one in the directory: somebody removed it, or the whole directory.
    pub(crate) fn is_removed(&self, directory: &Path) -> bool {
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (fs::metadata(path(directory)), self.0.metadata()) {
            (Ok(there), Ok(ours)) => inode(there) != inode(ours),
            _ => true,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would be enough, except that a child between fork and exec may have the file, too.
        let _ = self.0.unlock();
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("lock")
}
