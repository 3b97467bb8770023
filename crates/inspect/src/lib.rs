//! What captures mean: from events to text, JSON, facts and a verdict.
//!
//! ```text
//! Reader ─► events ─┬─► scan, context ─► show   one line, or one JSON object, an event
//!                   └─► facts   one pass: processes, output, DNS, connections, signals
//!                         └─► rules   each: facts → a verdict with its evidence, or nothing
//!                               └─► explain   the best verdict of each run, and one sentence for all
//! ```
//!
//! Why a container died:
//!
//! ```
//! # let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/nginx-upstream.lwcap");
//! let mut reader = capture_format::open_file(capture.as_ref())?;
//! let explanation = inspect::explain::explain(&mut reader);
//! assert!(explanation.sentence.starts_with("nginx exited 1"));
//! for run in &explanation.runs {
//!     println!("run {}: {:?}, {} %", run.run, run.verdict.cause, run.verdict.confidence);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What its processes wrote, and where to. A [`Context`](context::Context) belongs to one run and must see all its events, in
//! their order:
//!
//! ```
//! use capture_format::EventKind;
//! use inspect::{context::Context, escape::escaped_to};
//!
//! # let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/nginx-upstream.lwcap");
//! # let mut found = false;
//! let mut reader = capture_format::open_file(capture.as_ref())?;
//! for run in 0..reader.runs().len() {
//!     let mut context = Context::default();
//!     for event in reader.events(run).flatten() {
//!         let seen = context.observe(event.number, &event.event);
//!         if let (EventKind::WRITE, Some(fd)) = (seen.event.kind, &seen.fd) {
//!             println!("{} to {fd}: {}", seen.program.label, escaped_to(&seen.event.data, 80));
//! #           found |= fd.to_string() == "/var/log/nginx/error.log" && seen.program.label == "nginx";
//!         }
//!     }
//! }
//! # assert!(found);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here knows how events were recorded, and nothing trusts them: whatever bytes a capture holds, text for people
//! goes through [`escape`], memory stays bounded, and no number is used before it is checked.

#![forbid(unsafe_code)]

use bytes::Bytes;

pub mod compare;
pub mod context;
pub mod decode;
pub mod diff;
pub mod escape;
pub mod explain;
pub mod export;
pub mod facts;
pub mod fds;
pub mod filter;
pub mod info;
pub mod json;
pub mod losses;
pub mod report;
pub mod rules;
pub mod runtimes;
pub mod scan;
pub mod select;
pub mod show;
#[cfg(test)]
mod testing;
pub mod views;

/// A copy: an event's bytes are a slice of its whole block, which keeping the slice would keep.
fn own(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
