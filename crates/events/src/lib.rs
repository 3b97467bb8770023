//! What the events of a run mean on Linux: numbers become names, descriptors become paths, and bytes become text.
//!
//! A capture holds events as the kernel reported them: descriptor 3, error −2, 16 bytes of a `sockaddr`. This crate
//! adds to each event what is needed to understand it, and does not judge anything:
//!
//! | module | what it knows |
//! |---|---|
//! | [`decode`] | errors, signals, flags, socket addresses, DNS messages, times: one value at a time, without memory |
//! | [`fds`] | what a descriptor refers to, followed from event to event through `open`, `dup`, `fork` and `exec` |
//! | [`context`] | an event with what earlier events say about it: its program, its descriptor, its absolute path |
//! | [`escape`] | the only way from the bytes of a capture to text that a person reads |
//!
//! The example prints what the processes of a run wrote, and where to. A [`Context`](context::Context) belongs to one
//! run and must see all events of the run, in their order:
//!
//! ```
//! use capture_format::EventKind;
//! use events::{context::Context, escape::escaped_to};
//!
//! # let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/nginx-upstream.lwcap");
//! # let mut found = false;
//! let mut reader = capture_format::open_file(capture.as_ref())?;
//! for run in reader.indexes() {
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
//! Nothing here trusts an event: whatever bytes a capture holds, memory stays bounded, and no number is used before it
//! is checked.

#![forbid(unsafe_code)]

use bytes::Bytes;

pub mod context;
pub mod decode;
pub mod escape;
pub mod fds;

/// Copies bytes of an event. A slice of them would keep the whole block in memory.
#[must_use]
pub fn own(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// The last component of a path: `nginx` of `/usr/sbin/nginx`, and of `/usr/sbin/nginx/`.
#[must_use]
pub fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/')
        .find(|part| !part.is_empty())
        .unwrap_or_default()
}
