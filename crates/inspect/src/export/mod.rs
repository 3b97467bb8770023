//! Captures in the formats of other programs: one file or folder for each format.
//!
//! ```text
//! Reader ─► Context ─► Seen ─► Selection ─┬─► scap       sysdig, Stratoshark
//!                                         ├─► pcapng     Wireshark: DNS exchanges
//!                                         ├─► perfetto   ui.perfetto.dev
//!                                         └─► otlp       OpenTelemetry collectors: log records
//! ```
//!
//! Only the failed calls, for Perfetto:
//!
//! ```
//! use inspect::{export::perfetto, select::Selection};
//!
//! # let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/nginx-upstream.lwcap");
//! let mut reader = capture_format::open_file(capture.as_ref())?;
//! let failed = Selection {
//!     run: Some(2),
//!     filter: Some("evt.failed = true".parse()?),
//!     ..Selection::default()
//! };
//! let mut trace = Vec::new();
//! perfetto::write(&mut reader, &failed, &mut trace)?;
//! # assert!(!trace.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`crate::show`] writes JSON. Every exporter takes one event after the other and writes it at once, so memory is
//! bounded by a block of the capture. Binary formats contain payloads as they were recorded, because such files are
//! for programs and not for terminals. docs/exports.md says what each format holds, and what it cannot hold.

use std::io::{self, Read, Seek};

use capture_format::{BootTime, Host, Reader, Run, RunIndex, WallTime};

use crate::filter::Scope;
use crate::select::Selection;
use events::context::{Context, Seen};

mod name;
pub mod otlp;
pub mod pcapng;
pub mod perfetto;
pub mod scap;

/// A writer of one format. Its methods are called in the order of the capture.
trait Sink {
    /// A run begins.
    fn begin_run(&mut self, run: &Run) -> io::Result<()>;
    /// An event of the run, with the context after the event.
    fn event(&mut self, seen: &Seen<'_>, context: &Context) -> io::Result<()>;
    /// Events are missing here because the file is damaged; `damage` says why, for people.
    fn missing(&mut self, damage: &str) -> io::Result<()>;
    /// The run has ended; `index` is its position in the capture.
    fn end_run(&mut self, index: RunIndex, run: &Run) -> io::Result<()>;
}

/// Passes every selected event on to a sink.
fn tell<R: Read + Seek>(
    reader: &mut Reader<R>,
    select: &Selection,
    sink: &mut impl Sink,
) -> io::Result<()> {
    let (header, runs) = (reader.header().clone(), reader.runs().to_vec());
    let mut left = select.limit.unwrap_or(u64::MAX);
    for (index, run) in reader.indexes().zip(&runs) {
        if !select.takes_run(run) || left == 0 {
            continue;
        }
        sink.begin_run(run)?;
        let mut selected = select.in_run(reader, index);
        let mut context = Context::default();
        for item in reader.events(index) {
            if left == 0 {
                break;
            }
            match item {
                Ok(event) => {
                    let seen = context.observe(event.number, &event.event);
                    let scope = Scope {
                        header: &header,
                        run,
                        context: &context,
                    };
                    if selected.takes(&scope, &seen) {
                        sink.event(&seen, &context)?;
                        left -= 1;
                    }
                }
                Err(damage) => sink.missing(&damage.to_string())?,
            }
        }
        sink.end_run(index, run)?;
    }
    Ok(())
}

/// Time of day of an event. Times outside of the range become 0 or the largest number.
fn time_of_day(time: BootTime, host: &Host) -> WallTime {
    WallTime(u64::try_from(host.time_of_day(time).max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_the_epoch_stay_at_its_ends() {
        let host = |clock_offset| Host {
            clock_offset,
            ..Host::default()
        };
        assert_eq!(time_of_day(BootTime(5), &host(10)), WallTime(15));
        assert_eq!(time_of_day(BootTime(5), &host(-10)), WallTime(0));
        let last = time_of_day(BootTime(u64::MAX), &host(1));
        assert_eq!(last, WallTime(u64::MAX));
    }
}
