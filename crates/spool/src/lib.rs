//! Where captures are kept: the node's spool directory, and object storage.
//!
//! [`Spool`] is a directory that holds captures within limits, each beside a sidecar that says what is known of it
//! and what is still to be done with it ([`Entry`]). [`Store`] is object storage: S3, GCS, Azure or a folder. An
//! [`Uploader`] copies from one to the other.
//!
//! ```text
//! /var/lib/lastword/
//!   lock                           held by the agent
//!   clock                          how long the machine has run, with which captures grow old
//!   captures/NAMESPACE/NAME.lwcap  a capture, named as its Capture object, written by `capture_format::write_file`
//!   captures/NAMESPACE/NAME.json   its sidecar
//!   kept/0.run …                   kept runs of an agent that was stopped: see `Spool::keep`
//! ```
//!
//! All files are their owner's alone (0600, directories 0700). Every file appears under its name only when it is
//! whole, so an agent may be killed at any moment. The sidecar is a convenience: one that is missing or damaged is
//! made anew from the capture, and only what the capture does not hold (verdict, rank, what was done) is forgotten.
//! A capture of a name that is taken replaces that one, which stays as it is until the new one is whole.
//!
//! In a store a capture has the key `PREFIX/NAMESPACE/NAME.lwcap`, with a `.json` beside it that holds
//! its [`Info`]. Nothing here deletes from a store: let a lifecycle rule of the bucket do it.
#![forbid(unsafe_code)]

mod checksum;
mod clock;
mod entry;
mod error;
mod files;
mod kept;
mod name;
mod quota;
mod scan;
mod spool;
mod store;
mod uploader;

pub use entry::{Entry, Info, State, Upload};
pub use error::SpoolError;
pub use kept::{KeptRun, Restored};
pub use quota::Limits;
pub use scan::{Found, list, path};
pub use spool::{Config, New, Spool, Usage, Written};
pub use store::{Fetched, Store, StoreConfig, StoreError, Uploaded};
pub use uploader::{Backoff, Progress, Uploader};
