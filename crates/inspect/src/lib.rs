//! Ways to look at a capture: which events are shown, in which form, in which file format.
//!
//! A *filter* or a *selection* says which events. A *view* answers one question about a run, such as "which files did
//! it open?". A *report* is one HTML page with everything. An *export* is a file for another program.
//!
//! ```text
//! Reader ─► filter, select, scan    which events: blocks and rows that cannot match are not decoded
//!             ├─► show      a line, or a JSON object, for each event
//!             ├─► views     processes, files, connections, DNS, errors, output, timeline; diff: two runs side by side
//!             ├─► export    formats of other programs: sysdig, pcapng, Perfetto, OpenTelemetry
//!             └─► report    one HTML page with all of it and the verdict
//! ```
//!
//! The example finds what was written to standard error, with a filter:
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
//! [`events`] knows what events mean, and [`verdict`] knows what they prove. Whatever bytes a capture holds, text for
//! people goes through [`events::escape`], and memory stays bounded.

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
