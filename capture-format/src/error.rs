//! Why a capture could not be written or opened. Each message is complete: it includes its cause.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Version;

/// Why a capture could not be written. After an error, the writer cannot be used any more.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output refused the bytes.
    #[error("the capture could not be written: {0}{advice}", advice = advice(.0))]
    Io(io::Error),
    /// A file operation failed. The path has no new file; a file that was there before is unchanged.
    #[error("{action} {} failed: {error}{}", path.display(), advice(error))]
    File {
        /// The capture to be written.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// How it failed.
        error: io::Error,
    },
    /// The path names a device, a directory or another thing that a capture must not replace.
    #[error("{} is not a regular file; name a file that is, or one that does not exist", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The path is a link, or goes through one, that another user made in a folder where everybody may write.
    #[error(
        "{} is a link that another user has put into a folder where everybody may write; remove it, or choose another place",
        link.display()
    )]
    ForeignLink {
        /// The link.
        link: PathBuf,
    },
    /// Name and data of an event together are larger than the format allows.
    #[error("an event has {size} bytes of name and data; the format allows {limit}")]
    EventTooLarge {
        /// Bytes of the event.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The JSON document of the header or of a run is larger than the format allows.
    #[error("the {what} has {size} bytes; the format allows {limit}")]
    DocumentTooLarge {
        /// Which document.
        what: &'static str,
        /// Bytes of the document.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// An event was written outside of `begin_run` and `end_run`.
    #[error("an event was written outside a run: call begin_run before it")]
    NoRun,
}

impl WriteError {
    /// Makes an error that names the file and the step.
    pub(crate) fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File {
            path,
            action,
            error,
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What to do about an error of the file system, as the end of a sentence.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room there or choose another place"
        }
        io::ErrorKind::NotFound => "; check that its directory exists",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory you may write to"
        }
        _ => "",
    }
}

/// Why a file could not be opened as a capture.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file could not be opened or read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
    /// The file was opened by [`open_file`](crate::open_file), but is not a readable capture.
    #[error("{}: {error}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<Self>,
    },
    /// Reading failed.
    #[error("the capture could not be read: {0}")]
    Io(io::Error),
    /// The bytes are not a capture.
    #[error("not a lastword capture{} (lastword reads the .lwcap files that it writes)", looks_like.map(|what| format!(": it looks like {what}")).unwrap_or_default())]
    NotACapture {
        /// What they seem to be.
        looks_like: Option<&'static str>,
    },
    /// The file was a capture until a transfer in text mode changed its line endings or cleared the high bits.
    #[error("the capture was damaged by a transfer as text; copy it again in binary mode")]
    TextMode,
    /// The file ends before its first block ends.
    #[error(
        "the capture is cut off after {size} bytes, before anything in it is whole; copy it again"
    )]
    CutOff {
        /// Bytes of the file.
        size: u64,
    },
    /// The file has another major version of the format.
    #[error(
        "the capture has format version {found}, this program reads version {}.x; open it with a newer lastword",
        Version::CURRENT.major
    )]
    UnsupportedVersion {
        /// Version of the file.
        found: Version,
    },
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
