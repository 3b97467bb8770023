//! How captures are looked at: which events, as what, in whose format.
//!
//! ```text
//! Reader ─► filter, select, scan    which events: blocks and rows that cannot match are not decoded
//!             ├─► show      one line, or one JSON object, an event
//!             ├─► views     processes, files, connections, DNS, errors, output, a timeline; diff: two runs side by side
//!             ├─► export    other programs' formats: sysdig, pcapng, Perfetto, OpenTelemetry
//!             └─► report    one HTML page with all of it and the verdict
//! ```
//!
//! What wrote to standard error, found by a filter:
//!
//! ```
//! use inspect::{filter::Filter, show::{Options, show}};
//!
//! # let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/nginx-upstream.lwcap");
//! let mut reader = capture_format::open_file(capture.as_ref())?;
//! let mut options = Options::default();
//! options.select.filter = Some(Filter::parse("evt.type = write and fd.num = 2")?);
//! let mut out = Vec::new();
//! show(&mut reader, &mut out, &options)?;
//! assert!(String::from_utf8(out)?.contains("host not found in upstream"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What events mean is the business of [`events`], what they prove that of [`verdict`]. Whatever bytes a capture holds, text
//! for people goes through [`events::escape`] and memory stays bounded.

#![forbid(unsafe_code)]

pub mod diff;
pub mod export;
pub mod filter;
pub mod info;
pub mod json;
pub mod report;
pub mod scan;
pub mod select;
pub mod show;
pub mod views;
