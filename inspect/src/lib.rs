//! What captures mean: from events to text, JSON, facts and a verdict.
//!
//! ```text
//! Reader ─► events ─┬─► context ─► show   one line, or one JSON object, an event
//!                   └─► facts   one pass: processes, output, DNS, connections, signals
//!                         └─► rules   each: facts → a verdict with its evidence, or nothing
//!                               └─► explain   the best verdict of each run, and one sentence for all
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
pub mod facts;
pub mod fds;
pub mod filter;
pub mod info;
pub mod json;
pub mod rules;
pub mod select;
pub mod show;
#[cfg(test)]
mod testing;
pub mod views;

/// A copy: an event's bytes are a slice of its whole block, which keeping the slice would keep.
fn own(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
