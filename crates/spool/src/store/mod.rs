//! Object storage: S3, GCS, Azure, or a folder.

mod config;
mod error;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt as _,
    PutMultipartOptions, PutOptions,
};

pub use config::StoreConfig;
pub use error::StoreError;

use crate::checksum::Checksum;
use crate::{Entry, Info};

/// Captures up to this size are uploaded in one request, larger ones in parts of this size. This much of a capture is
/// in memory. Stores require parts of at least 5 MiB.
const PART: usize = 8 << 20;
/// The checksum, as metadata of an object (for example `x-amz-meta-sha256`).
const SHA256: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("sha256"));

/// A place in object storage that holds captures.
///
/// An agent needs the right to write objects there (on S3: `s3:PutObject` and `s3:AbortMultipartUpload`) and the right
/// to read them (`s3:GetObject`), to check that they have arrived. A lifecycle rule of the bucket should delete
/// captures that are not wanted any more, and remains of uploads that were interrupted.
pub struct Store {
    objects: Box<dyn ObjectStore>,
    prefix: Key,
    /// The URL with which it was opened, without a slash at the end.
    url: String,
    /// Whether objects can have metadata; files in a folder cannot.
    metadata: bool,
}

/// A capture that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Its URL, for [`StoreConfig::of_location`].
    pub location: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether the store was asked afterwards for the object; it is not if the credentials only allow writing.
    pub verified: bool,
}

/// A capture that is being read from the store.
pub struct Download {
    location: String,
    bytes: u64,
    expected: Option<String>,
    checksum: Checksum,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
}

impl Download {
    /// The capture's size in bytes, as the store says.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is a checksum to compare.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.expected.is_some()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// If the store fails. At the end, if the checksum differs: whatever was read must then not be used.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let Some(chunk) = self.stream.next().await {
            let chunk = chunk.map_err(StoreError::get(&self.location))?;
            self.checksum.update(&chunk);
            return Ok(Some(chunk));
        }
        let found = std::mem::take(&mut self.checksum).finish();
        match self.expected.take() {
            Some(expected) if expected != found => Err(StoreError::Mismatch {
                location: self.location.clone(),
                found: format!("the checksum {found}"),
                expected: format!("the checksum {expected}"),
            }),
            _ => Ok(None),
        }
    }
}

/// The client is not shown, because it may contain secrets.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The URL that a capture has or will have.
    #[must_use]
    pub fn location(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    /// Uploads a capture's file, then its entry as a `.json` beside it, and checks whether the store has all of it.
    /// Objects with the same name are replaced.
    ///
    /// # Errors
    /// If the file cannot be read, or does not match its entry; if the store reports an error; if the store then has
    /// something else.
    pub async fn put(&self, entry: &Entry, file: &Path) -> Result<Uploaded, StoreError> {
        let Info { sha256, .. } = &entry.info;
        let (key, location) = (self.key(&entry.key()), self.location(&entry.key()));
        let attributes = self.attributes(sha256);
        let mut source = Source::open(file).await?;
        let first = source.part().await?;
        if first.len() < PART {
            source.verify(sha256)?;
            let options = PutOptions {
                attributes,
                ..PutOptions::default()
            };
            self.objects
                .put_opts(&key, first.into(), options)
                .await
                .map_err(StoreError::put(&location))?;
        } else {
            let options = PutMultipartOptions {
                attributes,
                ..PutMultipartOptions::default()
            };
            let upload = self.objects.put_multipart_opts(&key, options).await;
            let mut upload = upload.map_err(StoreError::put(&location))?;
            if let Err(error) = put_parts(&mut upload, first, &mut source, sha256, &location).await
            {
                // What an aborted upload leaves behind costs money but does no harm; the bucket's lifecycle may also
                // remove it.
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        let verified = self.verify(&key, &location, source.bytes, sha256).await?;

        let json = serde_json::to_vec_pretty(&entry.info).map_err(io::Error::from);
        let json = json.map_err(StoreError::file("describing", file))?;
        let (key, beside) = (
            format!("{}.json", entry.id),
            format!("{location}'s description"),
        );
        let put = self.objects.put(&self.key(&key), json.into()).await;
        put.map_err(StoreError::put(&beside))?;
        Ok(Uploaded {
            location,
            bytes: source.bytes,
            verified,
        })
    }

    /// Begins to read a capture. Its checksum is compared with `sha256` or, without `sha256`, with the checksum that is
    /// stored with it.
    ///
    /// # Errors
    /// If it does not exist or cannot be read.
    pub async fn get(&self, key: &str, sha256: Option<&str>) -> Result<Download, StoreError> {
        let location = self.location(key);
        let object = self
            .objects
            .get(&self.key(key))
            .await
            .map_err(StoreError::get(&location))?;
        let stored = object
            .attributes
            .get(&SHA256)
            .map(|value| value.as_ref().to_owned());
        Ok(Download {
            location,
            bytes: object.meta.size,
            expected: sha256.map(str::to_owned).or(stored),
            checksum: Checksum::default(),
            stream: object.into_stream(),
        })
    }

    /// Whether the store has what was uploaded; false if the credentials do not allow reading it.
    async fn verify(
        &self,
        key: &Key,
        location: &str,
        bytes: u64,
        sha256: &str,
    ) -> Result<bool, StoreError> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = self.objects.get_opts(key, options).await;
        let found = match found.map_err(StoreError::get(location)) {
            Err(StoreError::Denied { .. }) => return Ok(false),
            found => found?,
        };
        let mismatch = |found: String, expected: String| {
            Err(StoreError::Mismatch {
                location: location.to_owned(),
                found,
                expected,
            })
        };
        if found.meta.size != bytes {
            return mismatch(
                format!("{} bytes", found.meta.size),
                format!("{bytes} bytes"),
            );
        }
        match found.attributes.get(&SHA256).map(AsRef::as_ref) {
            Some(stored) if stored != sha256 => mismatch(
                format!("the checksum {stored}"),
                format!("the checksum {sha256}"),
            ),
            _ => Ok(true),
        }
    }

    fn key(&self, key: &str) -> Key {
        self.prefix.parts().chain(Key::from(key).parts()).collect()
    }

    fn attributes(&self, sha256: &str) -> Attributes {
        let mut attributes = Attributes::new();
        if self.metadata {
            attributes.insert(SHA256, sha256.to_owned().into());
            attributes.insert(Attribute::ContentType, "application/octet-stream".into());
        }
        attributes
    }
}

async fn put_parts(
    upload: &mut Box<dyn MultipartUpload>,
    first: Vec<u8>,
    source: &mut Source,
    sha256: &str,
    location: &str,
) -> Result<(), StoreError> {
    let mut part = first;
    while !part.is_empty() {
        let put = upload.put_part(part.into()).await;
        put.map_err(StoreError::put(location))?;
        part = source.part().await?;
    }
    source.verify(sha256)?;
    upload
        .complete()
        .await
        .map(drop)
        .map_err(StoreError::put(location))
}

/// A capture's file that is being read, in threads that may block.
struct Source {
    path: PathBuf,
    file: Option<File>,
    /// The checksum of the bytes that were read.
    checksum: Option<Checksum>,
    /// How many bytes were read.
    bytes: u64,
}

impl Source {
    async fn open(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opened = {
            let path = path.clone();
            blocking(move || File::open(path)).await
        };
        let file = opened.map_err(StoreError::file("opening", &path))?;
        let (file, checksum) = (Some(file), Some(Checksum::default()));
        Ok(Self {
            path,
            file,
            checksum,
            bytes: 0,
        })
    }

    /// The next [`PART`] bytes; fewer at the end.
    async fn part(&mut self) -> Result<Vec<u8>, StoreError> {
        let (file, checksum) = (self.file.take(), self.checksum.take());
        let read = blocking(move || {
            let mut part = Vec::new();
            let (Some(file), Some(mut checksum)) = (file, checksum) else {
                return Err(io::Error::other("reading it has failed before"));
            };
            (&file).take(PART as u64).read_to_end(&mut part)?;
            checksum.update(&part);
            Ok((file, checksum, part))
        });
        let (file, checksum, part) = read
            .await
            .map_err(StoreError::file("reading", &self.path))?;
        (self.file, self.checksum) = (Some(file), Some(checksum));
        self.bytes += part.len() as u64;
        Ok(part)
    }

    /// Checks that what was read is the capture that was written.
    fn verify(&mut self, sha256: &str) -> Result<(), StoreError> {
        let found = self.checksum.take().map(Checksum::finish);
        if found.as_deref() == Some(sha256) {
            return Ok(());
        }
        Err(StoreError::Changed {
            path: self.path.clone(),
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
