//! The file format of lastword's captures.
//!
//! A *capture* is the file that is left of a container that died. It holds its last *runs* (a run is one life of the
//! container), and for each run the *events* that were recorded: system calls, the life cycle of processes, signals.
//!
//! - [`Writer`] and [`Reader`] write and read a capture; [`write_file`] and [`open_file`] do so with a file.
//! - [`Event`] and [`EventKind`] are the events, [`Header`] and [`Run`] the metadata.
//!
//! ```
//! use capture_format::{Event, EventKind, Header, Reader, Run, RunIndex, Writer};
//!
//! let mut writer = Writer::new(Vec::new(), &Header::default())?;
//! writer.begin_run(&Run { number: 1, ..Run::default() })?;
//! writer.event(&Event { kind: EventKind::EXIT, ret: 1 << 8, ..Event::default() })?;
//! writer.end_run()?;
//! let (capture, summary) = writer.finish()?;
//! assert_eq!(summary.events, 1);
//!
//! let mut reader = Reader::open(std::io::Cursor::new(capture))?;
//! for event in reader.events(RunIndex(0)) {
//!     match event {
//!         Ok(event) => println!("{}: {:?}", event.number, event.event),
//!         Err(damage) => println!("{damage}"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`write_file`] writes a file under a temporary name until it is complete. When a file is damaged, the damage is
//! reported and the rest is read:
//!
//! ```
//! use std::collections::HashMap;
//!
//! use capture_format::{EventKind, Header, Run, open_file, write_file};
//! # use capture_format::Event;
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("crash.lwcap");
//!
//! write_file(&path, &Header::default(), |writer| {
//!     writer.begin_run(&Run { number: 1, ..Run::default() })?;
//! #   writer.event(&Event { kind: EventKind::OPENAT, ret: -2, ..Event::default() })?;
//!     // … writer.event(&event)?
//!     writer.end_run()
//! })?;
//!
//! let mut reader = open_file(&path)?;
//! let mut failed: HashMap<EventKind, u64> = HashMap::new();
//! for run in reader.indexes() {
//!     for event in reader.events(run).flatten() {
//!         if event.event.kind.is_syscall() && event.event.ret < 0 {
//!             *failed.entry(event.event.kind).or_default() += 1;
//!         }
//!     }
//! }
//! for damage in reader.damage() {
//!     eprintln!("{damage}");
//! }
//! # assert_eq!(failed[&EventKind::OPENAT], 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rest of this page is the specification of the format and its version policy, `docs/format.md`.
#![doc = include_str!("../../docs/format.md")]
#![forbid(unsafe_code)]

mod block;
mod class;
mod damage;
mod error;
mod event;
mod file;
mod foreign;
mod ids;
mod index;
pub mod lane;
mod layout;
mod metadata;
mod reader;
mod scan;
mod source;
mod survey;
mod time;
mod varint;
mod writer;

pub use block::{BlockSummary, Columns, EventBlock};
pub use class::Class;
pub use damage::{Damage, DamageCause, Lost};
pub use error::{OpenError, WriteError, chain};
pub use event::{Event, EventFlags, EventKind, FdType, OomScope, SignalDisposition, SignalOrigin};
pub use file::{NewFile, open_file, write_file};
pub use ids::{CgroupId, NamespacePid, RunIndex, Tid};
pub use layout::Version;
pub use metadata::{
    Container, Cpu, ExitStatus, Header, Host, Kubernetes, Losses, Pod, PodContainer, PodEvent,
    PodReason, Probe, Redaction, Resources, Run, Terminated, Trigger,
};
pub use reader::{Events, NumberedEvent, Part, Reader};
pub use time::{BootTime, WallTime};
pub use writer::{Summary, Writer};
