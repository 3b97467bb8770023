//! The capture format of lastword.

#![forbid(unsafe_code)]

mod block;
mod damage;
mod error;
mod event;
mod file;
mod foreign;
mod index;
mod layout;
mod metadata;
mod reader;
mod scan;
mod source;
mod survey;
mod varint;
mod writer;

pub use damage::{Damage, DamageCause, Lost};
pub use error::{OpenError, WriteError};
pub use event::{Event, EventFlags, EventKind, FdType, SignalDisposition, SignalOrigin};
pub use file::{open_file, write_file};
pub use layout::Version;
pub use metadata::{
    Container, ExitStatus, Header, Host, Losses, Pod, Probe, Redaction, Run, Trigger,
};
pub use reader::{Events, NumberedEvent, Reader};
pub use writer::{Summary, Writer};
