//! Why a capture could not be written or opened.
//!
//! A message says what its own error adds; the cause is the error's [`source`](Error::source). So whoever shows an
//! error shows the whole [`chain`].

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::Version;

/// An error and its causes in one line, each once: `CONTEXT: ERROR: CAUSE`.
///
/// ```
/// use std::path::Path;
///
/// let error = capture_format::open_file(Path::new("/none.lwcap")).err().unwrap();
/// assert_eq!(error.to_string(), "cannot read /none.lwcap");
/// assert_eq!(
///     capture_format::chain(&error).to_string(),
///     "cannot read /none.lwcap: No such file or directory (os error 2)"
/// );
/// ```
pub fn chain(error: &(dyn Error + 'static)) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "{error}")?;
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        for cause in causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    })
}

/// Why a capture could not be written. After an error, the writer cannot be used any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output refused the bytes.
    #[error("the capture could not be written")]
    Io(#[source] io::Error),
    /// A file operation failed. The path has no new file; a file that was there before is unchanged.
    #[error("{action} {} failed", path.display())]
    File {
        /// The capture to be written.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// How it failed.
        #[source]
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
    /// Makes an error that names the file and the step, and says what to do.
    pub fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File {
            path,
            action,
            error: advised(error),
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(advised(error))
    }
}

/// An error of the same kind whose message also says what to do about it.
fn advised(error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there or choose another place"
        }
        io::ErrorKind::NotFound => "check that its directory exists",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a directory you may write to"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {advice}"))
}

/// Why a file could not be opened as a capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file could not be opened or read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// How it failed.
        #[source]
        error: io::Error,
    },
    /// The file was opened by [`open_file`](crate::open_file), but is not a readable capture.
    #[error("{}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: Box<Self>,
    },
    /// Reading failed.
    #[error("the capture could not be read")]
    Io(#[source] io::Error),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with the text that people read, which says every cause once.
    #[test]
    fn a_chain_says_every_cause_once() {
        let path = Path::new("/c.lwcap");
        let (full, missing) = (io::ErrorKind::StorageFull, io::ErrorKind::NotFound);
        let opened = |error| OpenError::File {
            path: path.to_owned(),
            error: Box::new(error),
        };
        let cases: [(Box<dyn Error>, &str); 7] = [
            (
                Box::new(WriteError::from(io::Error::from(full))),
                "the capture could not be written: no storage space; make room there or choose another place",
            ),
            (
                Box::new(WriteError::from(io::Error::other("the run is gone"))),
                "the capture could not be written: the run is gone",
            ),
            (
                Box::new(WriteError::at(path, "creating")(missing.into())),
                "creating /c.lwcap failed: entity not found; check that its directory exists",
            ),
            (
                Box::new(OpenError::Unreadable {
                    path: path.to_owned(),
                    error: missing.into(),
                }),
                "cannot read /c.lwcap: entity not found",
            ),
            (
                Box::new(opened(OpenError::TextMode)),
                "/c.lwcap: the capture was damaged by a transfer as text; copy it again in binary mode",
            ),
            (
                Box::new(opened(OpenError::from(io::Error::other("cut off")))),
                "/c.lwcap: the capture could not be read: cut off",
            ),
            (
                Box::new(WriteError::NoRun),
                "an event was written outside a run: call begin_run before it",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(chain(&*error).to_string(), text);
            let cause = error.source().map(ToString::to_string);
            assert!(
                cause.is_none_or(|cause| !error.to_string().contains(&cause)),
                "`{error}` includes its cause"
            );
        }
    }

    #[test]
    fn advice_keeps_the_kind_of_an_error() {
        let kind = io::ErrorKind::ReadOnlyFilesystem;
        assert_eq!(advised(kind.into()).kind(), kind);
    }
}
