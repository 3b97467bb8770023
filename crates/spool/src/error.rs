//! Why the spool could not do something. A message says what its own error adds; [`capture_format::chain`] shows the
//! causes with it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use capture_format::WriteError;
use thiserror::Error;

/// Why the spool could not do something.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// A file operation failed.
    #[error("{action} {} failed", path.display())]
    File {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// How it failed.
        #[source]
        error: io::Error,
    },
    /// Another process has the spool open.
    #[error("the spool {} is in use by another agent; stop that one, or give this one a directory of its own", directory.display())]
    InUse {
        /// The spool.
        directory: PathBuf,
    },
    /// Somebody removed or replaced the directory while this process had the spool open.
    #[error("the spool {} was removed while the agent used it, with {lost} captures", directory.display())]
    Removed {
        /// The spool.
        directory: PathBuf,
        /// How many captures are gone and in no store.
        lost: usize,
    },
    /// The capture could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The disk is full, even after captures were dropped.
    #[error("the disk of the spool is full, also after dropping {dropped} older captures")]
    Full {
        /// How many captures were dropped to make room.
        dropped: usize,
        /// How the last attempt failed.
        #[source]
        error: Box<SpoolError>,
    },
    /// The capture alone is larger than the spool may be. It was not kept. If its size was known beforehand, nothing
    /// was dropped for it.
    #[error(
        "a capture of {bytes} bytes does not fit into a spool of {limit}; raise the limit, or capture fewer runs"
    )]
    TooLarge {
        /// Bytes of the capture, or its expected bytes.
        bytes: u64,
        /// How many bytes are allowed.
        limit: u64,
    },
    /// The spool does not have this capture (any more).
    #[error("the spool has no capture {id:?}; it may have been dropped to make room")]
    Unknown {
        /// The id that was asked for.
        id: String,
    },
}

impl SpoolError {
    /// Makes an error that names the file and the step.
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File {
            action,
            path,
            error: advised(error),
        }
    }

    /// Whether the disk, or a quota of the file system, had no room.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::File { error, .. }
            | Self::Write(WriteError::Io(error) | WriteError::File { error, .. }) => is_full(error),
            _ => false,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// An error of the same kind whose message also says what to do about it.
fn advised(error: io::Error) -> io::Error {
    let advice = match error.kind() {
        _ if is_full(&error) => "make room there or choose another directory",
        ErrorKind::PermissionDenied => "let the agent's user own it, or choose another directory",
        ErrorKind::ReadOnlyFilesystem => "mount it writable, or choose another directory",
        ErrorKind::NotADirectory => "remove the file that is in the way",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {advice}"))
}
