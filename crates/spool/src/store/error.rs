//! Why a store could not be used, and what to do about it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use object_store::client::{HttpError, HttpErrorKind};
use thiserror::Error as ThisError;

/// How many characters of a store's message are repeated.
const LONGEST: usize = 300;

/// Why a store could not be used. Each message is complete: it includes its cause, and says what to do.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum StoreError {
    /// The URL cannot be used.
    #[error(
        "{url:?} cannot be a store: {reason}; use s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER"
    )]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This kind of store has no such option.
    #[error(
        "{key:?} is no option of this kind of store; the documentation of the object_store crate lists them (as configuration keys)"
    )]
    Option {
        /// The option.
        key: String,
    },
    /// The endpoint is not encrypted.
    #[error(
        "{endpoint} is not encrypted; use https, or set the option allow_http to \"true\" if that is meant"
    )]
    PlainHttp {
        /// The endpoint.
        endpoint: String,
    },
    /// The certificates to trust cannot be used.
    #[error("the certificates in {} cannot be used: {error}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// The configuration does not make a store.
    #[error("the store {url} cannot be opened: {detail}; check its options and credentials")]
    Setup {
        /// The URL.
        url: String,
        /// What is missing or wrong.
        detail: String,
    },
    /// A local file could not be used.
    #[error("{action} {} failed: {error}", path.display())]
    File {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
    /// The capture's file has changed since it was written.
    #[error("{} has changed since it was written, and is not uploaded; check the disk, then remove its .json to have it taken as it is", path.display())]
    Changed {
        /// The capture.
        path: PathBuf,
    },
    /// The object does not exist.
    #[error(
        "there is no {location} ({detail}); a lifecycle rule of the bucket may have removed it"
    )]
    Missing {
        /// URL of the object.
        location: String,
        /// The store's message.
        detail: String,
    },
    /// The bucket or container does not exist.
    #[error("the bucket of {location} does not exist ({detail}); create it, or correct the URL")]
    NoBucket {
        /// URL of the object.
        location: String,
        /// The store's message.
        detail: String,
    },
    /// The store refuses the request, with valid credentials or without.
    #[error(
        "the store refuses {location} ({detail}); check the credentials, and that they may read and write objects there"
    )]
    Denied {
        /// URL of the object.
        location: String,
        /// The store's message.
        detail: String,
    },
    /// There are no credentials.
    #[error(
        "there are no credentials for {location}: none are configured, and the machine's metadata service gives none ({detail}); set them as options, mount a Secret, or give the pod's service account an identity"
    )]
    NoCredentials {
        /// URL of the object.
        location: String,
        /// Why credentials could not be obtained.
        detail: String,
    },
    /// The store does not answer.
    #[error(
        "the store of {location} cannot be reached ({detail}); check the endpoint, the network policies and the proxy"
    )]
    Unreachable {
        /// URL of the object.
        location: String,
        /// How it failed.
        detail: String,
    },
    /// The store has something other than what was uploaded.
    #[error("{location} has {found}, but {expected} was uploaded: it is damaged")]
    Mismatch {
        /// URL of the object.
        location: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// The store failed in another way.
    #[error("the store failed at {location}: {detail}")]
    Failed {
        /// URL of the object.
        location: String,
        /// The store's message.
        detail: String,
    },
}

impl StoreError {
    /// Whether the error is about this capture only, so that others may succeed.
    #[must_use]
    pub fn is_of_capture(&self) -> bool {
        matches!(
            self,
            Self::File { .. } | Self::Changed { .. } | Self::Missing { .. } | Self::Mismatch { .. }
        )
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File {
            action,
            path,
            error,
        }
    }

    pub(super) fn setup(url: &str, error: &object_store::Error) -> Self {
        Self::Setup {
            url: url.to_owned(),
            detail: detail(error),
        }
    }

    /// The error for a caller who writes: if something is not found, it is the bucket.
    pub(super) fn put(location: &str) -> impl FnOnce(object_store::Error) -> Self {
        Self::of(location, true)
    }

    /// The error for a caller who reads.
    pub(super) fn get(location: &str) -> impl FnOnce(object_store::Error) -> Self {
        Self::of(location, false)
    }

    fn of(location: &str, writing: bool) -> impl FnOnce(object_store::Error) -> Self {
        let location = location.to_owned();
        move |error| {
            let (detail, whole) = (detail(&error), error.to_string());
            let no_bucket = ["NoSuchBucket", "ContainerNotFound", "specified bucket"];
            match &error {
                object_store::Error::NotFound { .. }
                    if writing || no_bucket.iter().any(|it| whole.contains(it)) =>
                {
                    Self::NoBucket { location, detail }
                }
                object_store::Error::NotFound { .. } => Self::Missing { location, detail },
                object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. } => Self::Denied { location, detail },
                _ if whole.contains("169.254.169.254")
                    || whole.contains("metadata.google.internal") =>
                {
                    Self::NoCredentials { location, detail }
                }
                _ if is_unreachable(&error) => Self::Unreachable { location, detail },
                _ => Self::Failed { location, detail },
            }
        }
    }
}

/// The error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn is_unreachable(error: &object_store::Error) -> bool {
    let kind =
        |error: &(dyn Error + 'static)| error.downcast_ref::<HttpError>().map(HttpError::kind);
    chain(error).filter_map(kind).any(|kind| {
        matches!(
            kind,
            HttpErrorKind::Connect
                | HttpErrorKind::Timeout
                | HttpErrorKind::Request
                | HttpErrorKind::Interrupted
        )
    })
}

/// A store's message in one line: code and message of an XML document, or else the root cause.
fn detail(error: &object_store::Error) -> String {
    let root = chain(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default();
    let element = |name: &str| {
        let (_, rest) = root.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0)
    };
    let said = match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => root,
    };
    let words: Vec<_> = said.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}
