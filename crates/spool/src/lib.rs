//! Where captures are kept: the node's spool directory, and object storage.
//!
//! A [`Spool`] is a directory that holds captures within limits. Beside each capture is a sidecar file, which says
//! what is known about the capture and what is still to be done with it ([`Entry`]). A [`Store`] is object storage:
//! S3, GCS, Azure or a folder. An [`Uploader`] copies captures from the spool to the store.
//!
//! ```text
//! /var/lib/lastword/
//!   lock                           held by the agent
//!   clock                          how long the machine has run, with which captures grow old
//!   captures/NAMESPACE/NAME.lwcap  a capture, named as its Capture object, written by `capture_format::write_file`
//!   captures/NAMESPACE/NAME.json   its sidecar
//!   kept/0.run …                   kept runs of the agent, for the next one: see `Spool::save`
//! ```
//!
//! Only their owner can read the files (mode 0600, directories 0700). Every file appears under its name only when it
//! is complete, so an agent may be killed at any moment. A sidecar that is missing or damaged is made anew from its
//! capture; only what the capture does not hold (verdict, rank, what was done) is forgotten then. A new capture
//! replaces an older one of the same name. The old one stays as it is until the new one is complete.
//!
//! In a store a capture has the key `PREFIX/NAMESPACE/NAME.lwcap`. Beside it, a `.json` holds its [`Info`]. Nothing
//! here deletes from a store: use a lifecycle rule of the bucket for that.
#![forbid(unsafe_code)]

mod checksum;
mod clock;
mod entry;
mod error;
mod files;
mod kept;
mod lock;
mod name;
mod quota;
mod scan;
mod spool;
mod store;
mod table;
mod uploader;

pub use entry::{Entry, Info, Owner, Recurred, Similar, State, Upload};
pub use error::SpoolError;
pub use kept::{Restored, SavedRun};
pub use name::id;
pub use quota::Limits;
pub use scan::{Found, list, path, read};
pub use spool::{Config, New, Spool, Written};
pub use store::{Download, Store, StoreConfig, StoreError, Uploaded};
pub use table::Usage;
pub use uploader::{Backoff, Progress, Uploader};
